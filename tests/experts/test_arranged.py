"""Networks laid out for their device: the same numbers but for rounding."""

from unittest import mock

import pytest
import torch
from diffusers.models.activations import GEGLU
from diffusers.models.attention_processor import AttnProcessor2_0
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.upsampling import Upsample2D
from support.family_experts import CPU, OF_UNETS, load, spec_of
from support.tiny_networks import unet_2d, vae
from torch.nn.functional import group_norm

from confiner_cli.experts.networks import group_norm as group_norms
from confiner_cli.experts.networks.arranged import RowsFirst, arranged_unet, arranged_vae
from confiner_cli.experts.networks.gated_units import SplitGEGLU
from confiner_cli.experts.networks.group_norm import WideGroupNorm, of_few_groups
from confiner_cli.experts.networks.temporal_convolution import TemporalConv, is_temporal
from confiner_cli.experts.networks.upsampling import UpsampledConv, doubles


def vae_with_attention():
    """As Stable Diffusion's has it, in the middle of its decoder."""
    return AutoencoderKL.from_config({**vae().config, "mid_block_add_attention": True})


def convolutions(module):
    return [layer for layer in module.modules() if isinstance(layer, torch.nn.Conv2d)]


def channels_are_last(conv):
    return conv.weight.is_contiguous(memory_format=torch.channels_last)


@torch.no_grad()
@pytest.mark.parametrize("size", [(1, 1), (4, 6), (5, 3)])
def test_enlarging_and_convolving_in_one_step_is_both(size):
    torch.manual_seed(0)
    block = Upsample2D(6, use_conv=True, out_channels=10).double()
    x = torch.randn(2, 6, *size, dtype=torch.float64)
    assert torch.allclose(UpsampledConv(block.conv)(x), block(x), atol=1e-12)


@torch.no_grad()
def test_a_vae_arranged_for_the_cpu_decodes_and_encodes_the_same():
    torch.manual_seed(0)
    whole, latents, pixels = vae().eval(), torch.randn(3, 4, 4, 6), torch.randn(3, 3, 32, 48)
    before = whole.decode(latents).sample, whole.encode(pixels).latent_dist.mode()
    arranged_vae(whole, CPU, torch.float32)
    assert any(isinstance(module, UpsampledConv) for module in whole.modules())
    after = whole.decode(latents).sample, whole.encode(pixels).latent_dist.mode()
    for one, other in zip(before, after, strict=True):
        assert (one - other).abs().max() < 1e-5 * one.abs().max()


def test_in_16_bits_no_weights_are_summed():
    halved = arranged_vae(vae().to(torch.bfloat16), CPU, torch.bfloat16)
    assert not any(isinstance(module, UpsampledConv) for module in halved.modules())


@pytest.mark.parametrize(
    "changes",
    [
        {"use_conv": False},
        {"use_conv": False, "use_conv_transpose": True},
        {"kernel_size": 1, "padding": 0},
        {"norm_type": "ln_norm"},
        {"interpolate": False},
    ],
    ids=str,
)
def test_an_upsampler_that_does_something_else_is_not_replaced(changes):
    assert doubles(Upsample2D(4, use_conv=True))
    assert not doubles(Upsample2D(4, **{"use_conv": True, **changes}))


@torch.no_grad()
@pytest.mark.parametrize("num_frames", [1, 5])
def test_a_convolution_over_frames_is_one_over_a_picture_of_them(num_frames):
    torch.manual_seed(0)
    conv = torch.nn.Conv3d(6, 10, (3, 1, 1), padding=(1, 0, 0)).double()
    x = torch.randn(2, 6, num_frames, 4, 3, dtype=torch.float64)
    assert is_temporal(conv)
    assert torch.allclose(TemporalConv(conv)(x), conv(x), atol=1e-12)


@pytest.mark.parametrize(
    "conv",
    [
        torch.nn.Conv3d(4, 4, 3, padding=1),
        torch.nn.Conv3d(4, 4, (3, 1, 1)),
        torch.nn.Conv3d(4, 4, (3, 1, 1), padding=(1, 0, 0), stride=(2, 1, 1)),
        torch.nn.Conv3d(4, 4, (3, 1, 1), padding=(1, 0, 0), groups=2),
        torch.nn.Conv2d(4, 4, 3, padding=1),
    ],
    ids=str,
)
def test_another_convolution_is_not_taken_for_one_over_frames(conv):
    assert not is_temporal(conv)


@pytest.mark.parametrize("family", OF_UNETS)
def test_on_a_cpu_the_channels_of_convolutions_come_last(family, tiny_networks):
    unet = load(family, spec_of(family, tiny_networks)).network.unet()
    assert convolutions(unet) and all(map(channels_are_last, convolutions(unet)))


@torch.no_grad()
@pytest.mark.parametrize("bias", [True, False])
def test_a_gated_unit_in_two_products_is_the_one_in_one(bias):
    torch.manual_seed(0)
    unit, x = GEGLU(6, 10, bias=bias).double(), torch.randn(2, 5, 6, dtype=torch.float64)
    before = x.clone()
    assert torch.allclose(SplitGEGLU(unit.proj)(x), unit(x), atol=1e-12)
    assert torch.equal(x, before)


@pytest.mark.parametrize("family", OF_UNETS)
def test_on_a_cpu_layers_are_arranged(family, tiny_networks):
    modules = list(load(family, spec_of(family, tiny_networks)).network.unet().modules())
    assert any(isinstance(module, SplitGEGLU) for module in modules)
    assert not any(isinstance(module, GEGLU) or is_temporal(module) for module in modules)


ROUNDING = {torch.float64: 1e-10, torch.float32: 1e-4, torch.bfloat16: 0.01}


class OnGPU(torch.Tensor):
    """A tensor that says it is on a GPU."""

    device = torch.device("cuda")


@pytest.mark.parametrize(
    ("shape", "is_wide"),
    [
        ((1, 64, 500, 20, 20), True),  # 400,000 numbers a group, 32 groups
        ((1, 64, 499, 20, 20), False),
        ((7, 64, 200_000), True),
        ((8, 64, 200_000), False),
    ],
)
def test_only_few_and_large_groups_of_a_gpu_get_many_blocks(shape, is_wide, monkeypatch):
    asked = mock.Mock()
    monkeypatch.setattr(group_norms, "of_few_groups", asked)
    monkeypatch.setattr(group_norms.functional, "group_norm", lambda *_: None)
    x, weight = torch.empty(1).expand(shape), torch.ones(64)
    group_norms.group_norm(x.as_subclass(OnGPU), 32, weight, weight, 1e-5)
    assert asked.called == is_wide
    asked.reset_mock()
    group_norms.group_norm(x, 32, weight, weight, 1e-5)
    assert not asked.called


@torch.no_grad()
@pytest.mark.parametrize("shape", [(1, 64, 3, 5, 7), (2, 64, 16, 16), (9, 4, 64)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_moments_of_few_groups_are_the_groups_own(shape, dtype):
    torch.manual_seed(0)
    weight, bias, x = torch.randn(64), torch.randn(64), (3 * torch.randn(shape) + 50).mT
    given = [each.to(dtype) for each in (x, weight, bias)]
    exact = group_norm(given[0].double(), 32, *(each.double() for each in given[1:]))
    found = of_few_groups(given[0], 32, *given[1:], 1e-5)
    assert found.dtype == dtype and found.is_contiguous()
    rounding = ROUNDING[dtype]  # moments are float32 at least
    assert ((found - exact).abs() <= rounding * (1 + exact.abs())).all()


def test_on_a_gpu_norms_are_wide_and_a_vaes_attention_leaves_rows_first():
    there = torch.device("cuda")
    unet, coder = (
        arranged_unet(unet_2d(), there),
        arranged_vae(vae_with_attention(), there, torch.bfloat16),
    )
    norms = [module for module in unet.modules() if isinstance(module, torch.nn.GroupNorm)]
    assert norms and all(isinstance(norm, WideGroupNorm) for norm in norms)
    assert isinstance(coder.decoder.mid_block.attentions[0].processor, RowsFirst)
    assert not all(map(channels_are_last, (*convolutions(unet), *convolutions(coder))))


@torch.no_grad()
def test_arranged_for_a_gpu_networks_answer_the_same():
    torch.manual_seed(0)
    there, latents = torch.device("cuda"), torch.randn(2, 4, 4, 6)
    coder, unet, text = vae_with_attention().eval(), unet_2d().eval(), torch.randn(2, 3, 16)
    before = coder.decode(latents).sample, unet(latents, 7, text).sample
    arranged_vae(coder, there, torch.float32), arranged_unet(unet, there)
    after = coder.decode(latents).sample, unet(latents, 7, text).sample
    for one, other in zip(before, after, strict=True):
        assert (one - other).abs().max() < 1e-5 * one.abs().max()


def test_elsewhere_nothing_is_changed():
    there = torch.device("mps")
    unet, coder = (
        arranged_unet(unet_2d(), there),
        arranged_vae(vae_with_attention(), there, torch.float32),
    )
    modules = [*unet.modules(), *coder.modules()]
    assert not all(map(channels_are_last, (*convolutions(unet), *convolutions(coder))))
    kinds = {type(module) for module in modules}
    assert kinds.isdisjoint({SplitGEGLU, UpsampledConv, WideGroupNorm})
    assert type(coder.decoder.mid_block.attentions[0].processor) is AttnProcessor2_0
