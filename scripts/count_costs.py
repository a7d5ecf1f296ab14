"""Count what the networks cost: `python scripts/count_costs.py`.

Writes `confiner_cli/costs/table.json`.

One forward pass of one sample runs on the meta device, where tensors have shapes and no memory, and
is watched twice:

- *operations* by torch's own FlopCounterMode: two for a multiply-add, of matrix products,
  convolutions and attention;
- *memory* by `Live`, which adds up the storages that are alive after each operation, weights apart,
  in 16 bits.

Attention is counted as one fused kernel, as on a GPU: its matrix is never in memory. What an
operation uses inside (cuDNN's workspace, an allocator's gaps) is not seen. All counts are
polynomials of a few terms (`confiner_cli.costs.table`), so the table holds their factors: least
squares over small sizes, compared with counts at large ones.
"""

from __future__ import annotations

import importlib
import itertools
import json
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from diffusers.utils import logging as diffusers_logging
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode
from transformers.models.clip.configuration_clip import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModel

import confiner_cli
from confiner_cli.costs.table import TABLE, Cost, costs, terms
from confiner_cli.experts import families
from confiner_cli.experts.conditioning import Conditioning
from confiner_cli.experts.networks.latent_preview import LatentPreview

PACKAGE = Path(confiner_cli.__file__).parent
ARCHITECTURES, EMBEDDED = PACKAGE / "experts" / "architectures", PACKAGE / "embedded"
UNETS = {
    "sd15": ("stable_diffusion", ARCHITECTURES / "sd15", ARCHITECTURES / "sd15"),
    "animatediff": ("animatediff", ARCHITECTURES / "sd15", ARCHITECTURES / "sd15"),
    "modelscope": ("modelscope", ARCHITECTURES / "modelscope", ARCHITECTURES / "modelscope"),
    "lavie": ("lavie", ARCHITECTURES / "lavie", ARCHITECTURES / "sd15"),
    "tiny_spatial": ("stable_diffusion", EMBEDDED / "spatial", EMBEDDED / "shared"),
    "tiny_control": ("animatediff", EMBEDDED / "control", EMBEDDED / "shared"),
    "tiny_temporal": ("modelscope", EMBEDDED / "temporal", EMBEDDED / "shared"),
}
"""Family, the folder of its parts, and that of its text encoder."""
VAES = {"sd15_vae": ARCHITECTURES / "sd15", "tiny_vae": EMBEDDED / "shared"}
PREVIEWS: Mapping[str, Callable[[], Any]] = {
    "taesd": AutoencoderTiny,
    "tiny_preview": LatentPreview,
}
"""Decoders that may stand for VAEs; their configs are their classes' own."""
TEXTS = {
    "sd15_text": ARCHITECTURES / "sd15", "modelscope_text": ARCHITECTURES / "modelscope",
    "tiny_text": EMBEDDED / "shared",
}  # fmt: skip
LATENT, LATENT_CHANNELS = 8, 4
"""Pixels of a side per latent, and its numbers."""

Size = tuple[int, int, int]
"""Frames, height and width in pixels."""
FITTED: tuple[Size, ...] = tuple(
    (frames, *size)
    for frames, size in itertools.product((1, 2, 3), ((64, 64), (64, 128), (128, 128)))
)
SHOWN: tuple[Size, ...] = ((16, 256, 256), (16, 320, 512), (16, 512, 512))
HELD_OUT: tuple[Size, ...] = (*SHOWN, (1, 512, 512), (24, 576, 1024))
FLOPS_TERMS, BYTES_TERMS = 5, 3
"""How many of `terms` there are.

With fused attention memory does not grow with pairs of positions or frames.
"""
CONVENTION = (
    "One forward pass of one sample (guidance takes two), a VAE's of its decoder, a text "
    "encoder's of one prompt. With F frames of P tiles of 64 x 64 pixels a cost is the sum of "
    "factors times 1, F, F P, F P^2, F^2 P; those left out at the end are zero. flops: 2 per "
    "multiply-add, of matrix products, convolutions and attention. activation_bytes: the largest "
    "sum of live tensors beside the weights, in 16 bits, with fused attention. residual: the "
    "largest relative error at sizes that were not fitted. Written by scripts/count_costs.py."
)


@dataclass(frozen=True)
class Subject:
    """A network without memory, and a pass of it over inputs of a size."""

    module: nn.Module
    inputs: Callable[[Size], tuple[Tensor, ...]]
    forward: Callable[..., object]

    @property
    def parameters(self) -> int:
        """Numbers in its weights, without tables that are computed."""
        return sum(parameter.numel() for parameter in self.module.parameters())


def subject(name: str) -> Subject:
    """A network of the table, in 16 bits on the meta device."""
    if name in UNETS:
        return _unet(*UNETS[name])
    if name in PREVIEWS:
        return _decoder(_built(PREVIEWS[name]), LATENT_CHANNELS)
    return _vae(VAES[name]) if name in VAES else _text(TEXTS[name])


def _unet(family: str, folder: Path, text: Path) -> Subject:
    kind = importlib.import_module(f"{families.__name__}.{family}")
    configs = {path.parent.name: _read(path) for path in folder.glob("*/config.json")}
    module = _built(lambda: kind.build(configs))
    tokens = _read(text / "text_encoder" / "config.json")["max_position_embeddings"]
    channels, width = (configs["unet"][key] for key in ("in_channels", "cross_attention_dim"))
    states = _empty(1, tokens, width)
    return Subject(
        module,
        lambda size: (_empty(1, channels, size[0], size[1] // LATENT, size[2] // LATENT), states),
        lambda x_t, text: _asked(kind, module, x_t, text),
    )


def _asked(kind: ModuleType, module: nn.Module, x_t: Tensor, text: Tensor) -> Tensor:
    """What a family's network predicts, at some timestep."""
    timestep = torch.full((), 100.0, device=x_t.device)
    prediction: Tensor = kind.predict(module, x_t, timestep, Conditioning(text))
    return prediction


def _vae(folder: Path) -> Subject:
    config = _read(folder / "vae" / "config.json")
    return _decoder(_built(lambda: AutoencoderKL.from_config(config)), config["latent_channels"])


def _decoder(module: Any, channels: int) -> Subject:
    return Subject(
        module,
        lambda size: (_empty(size[0], channels, size[1] // LATENT, size[2] // LATENT),),
        lambda latents: module.decode(latents).sample,
    )


def _text(folder: Path) -> Subject:
    config = _read(folder / "text_encoder" / "config.json")
    module = _built(lambda: CLIPTextModel(CLIPTextConfig(**config)))
    ids = _empty(1, config["max_position_embeddings"], dtype=torch.long)
    return Subject(module, lambda size: (ids,), lambda ids: module(ids).last_hidden_state)


def _read(path: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return config


def _built(build: Callable[[], Any]) -> Any:
    with torch.device("meta"):
        return build().half().eval()


def _empty(*shape: int, dtype: torch.dtype = torch.float16) -> Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


class Live(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the bytes of the storages that operations make, as long as they are alive.

    Attributes:
        now: bytes that are alive, those of `inputs` among them.
        peak: the most that were alive after an operation.
    """

    def __init__(self, inputs: Iterable[Tensor], weights: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        # Storages are known by their address: what must not be counted is kept from being freed.
        self._weights = [tensor.untyped_storage() for tensor in weights]
        self._known = {id(storage) for storage in self._weights}
        self._watch(inputs)

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run an operation and watch what it returns."""
        result = func(*args, **(kwargs or {}))
        self._watch(leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor))
        return result

    def _watch(self, tensors: Iterable[Tensor]) -> None:
        for storage in (tensor.untyped_storage() for tensor in tensors):
            if id(storage) not in self._known:  # a view has its base's storage
                self._known.add(id(storage))
                self.now += storage.nbytes()
                weakref.finalize(storage, self._freed, id(storage), storage.nbytes())
        self.peak = max(self.peak, self.now)

    def _freed(self, identity: int, size: int) -> None:
        self._known.discard(identity)
        self.now -= size


class FusedAttention(TorchFunctionMode):
    """Attention as one operation, as a GPU's memory-efficient kernel does it.

    Off a GPU torch would take it apart.
    """

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run a function, attention in its own way."""
        chosen = _fused if func is scaled_dot_product_attention else func
        return chosen(*args, **(kwargs or {}))


def _fused(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, **others: Any
) -> Tensor:
    attend = torch.ops.aten._scaled_dot_product_efficient_attention
    result: Tensor = attend(query, key, value, attn_mask, compute_log_sumexp=False)[0]
    return result


def count(watched: Subject, size: Size) -> tuple[int, int]:
    """Operations of one pass, and the most bytes that it holds beside the weights."""
    inputs = watched.inputs(size)
    weights = itertools.chain(watched.module.parameters(), watched.module.buffers())
    with (
        FlopCounterMode(display=False) as flops,
        Live(inputs, weights) as live,
        FusedAttention(),
        torch.no_grad(),
    ):
        watched.forward(*inputs)
    return flops.get_total_flops(), live.peak


def fit(sizes: Iterable[Size], counts: Iterable[int], number: int) -> tuple[int, ...]:
    """The whole factors of the first `number` terms: those nearest to the counts, relatively."""
    wanted = np.array([*counts], dtype=np.float64)
    known = np.array([terms(*size)[:number] for size in sizes]) / wanted[:, None]
    return tuple(
        round(factor) for factor in np.linalg.lstsq(known, np.ones_like(wanted), rcond=None)[0]
    )


def cost_of(name: str, watched: Subject) -> Cost:
    """A network's factors; one of a text encoder, whose cost depends on no size."""
    flops, live = zip(*(count(watched, size) for size in FITTED), strict=True)
    numbers = (1, 1) if name in TEXTS else (FLOPS_TERMS, BYTES_TERMS)
    return Cost(watched.parameters, fit(FITTED, flops, numbers[0]), fit(FITTED, live, numbers[1]))


def residual(cost: Cost, watched: Subject, sizes: Iterable[Size]) -> dict[str, float]:
    """The largest relative errors at sizes, to six decimals."""
    worst = {"flops": 0.0, "activation_bytes": 0.0}
    for size in sizes:
        for kind, counted in zip(worst, count(watched, size), strict=True):
            worst[kind] = max(worst[kind], abs(getattr(cost, kind)(*size) / counted - 1))
    return {kind: round(error, 6) for kind, error in worst.items()}


def row(cost: Cost, errors: Mapping[str, float]) -> dict[str, Any]:
    """What the table says about a network."""
    factors = {"flops": cost.flops_of_terms, "activation_bytes": cost.bytes_of_terms}
    return {"parameters": cost.parameters, **factors, "residual": errors}


def text_of(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """The table's file: a line for each network, sorted."""
    lines = (f"  {json.dumps(name)}: {json.dumps(rows[name])}" for name in sorted(rows))
    head = f' "convention": {json.dumps(CONVENTION)},\n "networks": {{\n'
    return "{\n" + head + ",\n".join(lines) + "\n }\n}\n"


def report(table: Mapping[str, Cost]) -> Iterator[str]:
    """A table to read: 16 frames at three sizes."""
    yield (
        "| network | parameters | "
        + " | ".join(f"{height} x {width}" for _, height, width in SHOWN)
        + " |"
    )
    yield "|---" * (2 + len(SHOWN)) + "|"
    for name, cost in sorted(table.items()):
        cells = (
            f"{cost.flops(*size) / 1e9:.1f} GFLOP, {cost.activation_bytes(*size) / 2**20:.1f} MiB"
            for size in SHOWN
        )
        yield f"| {name} | {cost.parameters:,} | " + " | ".join(cells) + " |"


def main() -> None:
    diffusers_logging.set_verbosity_error()
    rows = {}
    for name in (*UNETS, *VAES, *PREVIEWS, *TEXTS):
        watched = subject(name)
        cost = cost_of(name, watched)
        rows[name] = row(cost, residual(cost, watched, HELD_OUT))
    TABLE.write_text(text_of(rows), encoding="utf-8")
    print("\n".join(report(costs())))


if __name__ == "__main__":
    main()
