"""The reference cases notice every fact of LaVie's UNet: break one, and some case is far off."""

import itertools
import math

import pytest
import torch
from support.lavie_reference import CASES, TOLERANCE, error, small_unet
from torch.nn.functional import gelu, group_norm, interpolate

from confiner_cli.experts.networks import lavie, temporal_attention
from confiner_cli.experts.networks.lavie_blocks import (
    JointGroupNorm,
    Resnet,
    Transformer,
    TransformerBlock,
)
from confiner_cli.experts.networks.temporal_attention import RelativeBias, Rotary, TemporalAttention


def norms_of(kind, unet, names):
    return [
        getattr(module, name)
        for module in unet.modules()
        if isinstance(module, kind)
        for name in names
    ]


def with_eps(kind, names, eps):
    def change(monkeypatch, unet):
        for norm in norms_of(kind, unet, names):
            norm.eps = eps

    return change


def patched(owner, name, replacement):
    return lambda monkeypatch, unet: monkeypatch.setattr(owner, name, replacement)


def each_frame_alone(norm, x, frames):
    return group_norm(x, norm.num_groups, norm.weight, norm.bias, norm.eps)


def only_last_norm_alone(monkeypatch, unet):
    joint = JointGroupNorm.forward

    def forward(norm, x, frames):
        return (
            each_frame_alone(norm, x, frames)
            if norm is unet.conv_norm_out
            else joint(norm, x, frames)
        )

    monkeypatch.setattr(JointGroupNorm, "forward", forward)


def joint_transformer_norm(monkeypatch, unet):
    def forward(transformer, x, context):
        hidden = JointGroupNorm.forward(transformer.norm, x, context.frames)
        hidden = transformer.proj_in(hidden).flatten(2).transpose(1, 2)
        hidden = transformer.transformer_blocks[0](hidden, context)
        return x + transformer.proj_out(hidden.transpose(1, 2).reshape(x.shape))

    monkeypatch.setattr(Transformer, "forward", forward)


def block_in_order(*names):
    def forward(block, x, context):
        def temporal(x):
            positions = x.shape[1]
            x = x.unflatten(0, (-1, context.frames)).transpose(1, 2).flatten(0, 1)
            x = block.attn_temp(block.norm_temp(x), context.buckets)
            return x.unflatten(0, (-1, positions)).transpose(1, 2).flatten(0, 1)

        parts = {
            "frame": lambda x: block.attn1(block.norm1(x)),
            "text": lambda x: block.attn2(block.norm2(x), context.text),
            "temporal": temporal,
            "feed": lambda x: block.ff(block.norm3(x)),
        }
        for name in names:
            x = x + parts[name](x)
        return x

    return patched(TransformerBlock, "forward", forward)


def halves_rotated(rotary, x):
    angle = torch.arange(x.shape[-2])[:, None] * rotary.freqs
    first, second, rest = x[..., :16], x[..., 16:32], x[..., 32:]
    turned = (
        first * angle.cos() - second * angle.sin(),
        second * angle.cos() + first * angle.sin(),
    )
    return torch.cat((*turned, rest), dim=-1)


def analytic_frequencies(monkeypatch, unet):
    for module in unet.modules():
        if isinstance(module, Rotary):
            module.freqs = Rotary().freqs


rotate, bias = Rotary.forward, RelativeBias.forward


def values_rotated(monkeypatch, unet):
    split = TemporalAttention._split
    calls = itertools.count(1)

    def third_too(attention, x):  # queries, keys, values
        parts = split(attention, x)
        return attention.rotary_emb(parts) if next(calls) % 3 == 0 else parts

    monkeypatch.setattr(TemporalAttention, "_split", third_too)


def causal(module, buckets):
    return bias(module, buckets).masked_fill(torch.ones_like(buckets).triu(1).bool(), -math.inf)


def tiled_text(monkeypatch, unet):
    plain = lavie.Context

    def context(text, frames, **others):
        return plain(text=text[::frames].repeat(frames, 1, 1), frames=frames, **others)

    monkeypatch.setattr(lavie, "Context", context)


def tiled_time(monkeypatch, unet):
    for module in unet.modules():
        if isinstance(module, Resnet):
            module.time_emb_proj.register_forward_hook(lambda _, arguments, output: Tiled(output))


class Tiled(torch.Tensor):
    """Repeats as a whole where it is asked to repeat each."""

    @staticmethod
    def __new__(cls, tensor):
        return tensor.as_subclass(cls)

    def repeat_interleave(self, count, dim):
        return self.as_subclass(torch.Tensor).repeat(count, 1)


def gate_first(monkeypatch, unet):
    for module in unet.modules():
        if type(module).__name__ == "GEGLU":
            module.forward = lambda x, proj=module.proj: _geglu(*proj(x).chunk(2, dim=-1)[::-1])


def tanh_gelu(monkeypatch, unet):
    for module in unet.modules():
        if type(module).__name__ == "GEGLU":
            module.forward = lambda x, proj=module.proj: _geglu(
                *proj(x).chunk(2, dim=-1), approximate="tanh"
            )


def _geglu(value, gate, approximate="none"):
    return value * gelu(gate, approximate=approximate)


def sine_first(monkeypatch, unet):
    unet.time_proj.flip_sin_to_cos = False


def skips_first(monkeypatch, unet):
    plain = torch.cat

    def cat(
        tensors, dim=0
    ):  # widths differ: only where both are as wide does the wrong order still run
        same = len(tensors) == 2 and tensors[0].ndim == 4 and tensors[0].shape == tensors[1].shape
        return plain(tensors[::-1] if same else tensors, dim=dim)

    monkeypatch.setattr(torch, "cat", cat)


MUTATIONS = {
    "resnet norms: each frame alone": patched(JointGroupNorm, "forward", each_frame_alone),
    "last norm: each frame alone": only_last_norm_alone,
    "transformer norm: all frames together": joint_transformer_norm,
    "transformer norm: eps 1e-5": with_eps(Transformer, ("norm",), 1e-5),
    "resnet norms: eps 1e-6": with_eps(Resnet, ("norm1", "norm2"), 1e-6),
    "layer norms: eps 1e-6": with_eps(
        TransformerBlock, ("norm1", "norm2", "norm_temp", "norm3"), 1e-6
    ),
    "block order: temporal before text": block_in_order("frame", "temporal", "text", "feed"),
    "block order: temporal last": block_in_order("frame", "text", "feed", "temporal"),
    "block order: temporal first": block_in_order("temporal", "frame", "text", "feed"),
    "rotary: halves paired instead of neighbours": patched(Rotary, "forward", halves_rotated),
    "rotary: backwards": patched(
        Rotary, "forward", lambda rotary, x: rotate(rotary, x.flip(-2)).flip(-2)
    ),
    "rotary: off": patched(Rotary, "forward", lambda rotary, x: x),
    "rotary: analytic frequencies": analytic_frequencies,
    "rotary: values too": values_rotated,
    "bias: sign of the distance": patched(
        RelativeBias, "forward", lambda m, b: bias(m, b.transpose(0, 1))
    ),
    "bias: negated": patched(RelativeBias, "forward", lambda m, b: -bias(m, b)),
    "bias: scaled like the logits": patched(
        RelativeBias, "forward", lambda m, b: bias(m, b) * 32**-0.5
    ),
    "bias: off": patched(RelativeBias, "forward", lambda m, b: 0 * bias(m, b)),
    "bias: buckets up to distance 128": patched(temporal_attention, "FARTHEST", 128),
    "temporal attention: causal": patched(RelativeBias, "forward", causal),
    "text: tiled over frames": tiled_text,
    "time: tiled over frames": tiled_time,
    "feed-forward: gate and value swapped": gate_first,
    "feed-forward: tanh GELU": tanh_gelu,
    "timestep: sine first": sine_first,
    "skips: in the other order": skips_first,
    "upsampling: always doubled": patched(
        lavie, "interpolate", lambda x, size: interpolate(x, scale_factor=2)
    ),
    "upsampling: bilinear": patched(
        lavie, "interpolate", lambda x, size: interpolate(x, size=size, mode="bilinear")
    ),
}


NOTICED = 5 * TOLERANCE
"""A broken fact must be well beyond what rounding, at most the tolerance, could hide."""


def errors(monkeypatch, mutate):
    """By case, how far off the mutated model is; infinitely where it does not even run.

    The last case comes first: it is quick, and its small activations show most of what is wrong.
    """
    for name in reversed(CASES):
        unet = small_unet(name)
        with monkeypatch.context() as patches:
            mutate(patches, unet)
            try:
                yield name, error(name, unet)
            except RuntimeError:
                yield name, math.inf


@pytest.mark.parametrize("mutate", MUTATIONS.values(), ids=MUTATIONS)
def test_a_broken_fact_is_noticed(monkeypatch, mutate):
    assert any(value > NOTICED for _, value in errors(monkeypatch, mutate))


def test_the_harness_itself_breaks_nothing(monkeypatch):
    in_order = block_in_order("frame", "text", "temporal", "feed")
    assert all(value < TOLERANCE for _, value in errors(monkeypatch, in_order))


if __name__ == "__main__":  # the table: which case notices what, and how far off it is
    for title, mutate in MUTATIONS.items():
        with pytest.MonkeyPatch.context() as patches:
            found = dict(errors(patches, mutate))
        noticed = [name for name, value in found.items() if value > NOTICED]
        print(f"| {title} | {', '.join(noticed) or 'none'} | {max(found.values()):.1e} |")
