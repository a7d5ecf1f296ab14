"""What an adapter has for a layer, put as peft has it: LoRA, DoRA, LoHa and LoKr.

A product's strength is multiplied into one of its factors, so that peft's own alpha is the rank.
LoRA is arXiv 2106.09685, DoRA 2402.09353, LoHa 2108.06098, LoKr 2309.14859 (LyCORIS).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from peft import LoHaConfig, LoHaModel, LoKrConfig, LoKrModel, LoraConfig, LoraModel, PeftConfig
from peft.tuners.lokr.layer import factorization
from peft.tuners.tuners_utils import BaseTuner
from torch import Tensor, nn

from confiner_cli.experts.lora_names import (
    BIAS,
    DOWN,
    MAGNITUDE,
    MID,
    OVER_OUTPUTS,
    SCALAR,
    UP,
)

LARGE = 2**20
"""A rank from which on peft keeps both factors of a LoKr whole."""
Parts = dict[str, Tensor]


@dataclass(frozen=True)
class Factors:
    """What an adapter has for one layer.

    Attributes:
        layer: its name in the network.
        shape: of its weight, `(output, input)` or `(output, input, *kernel)`.
        parts: the factors by `lora_names`' names, in the file's own shapes.
        strength: of the adapter and its scale: by rank, what the product is multiplied by; the rank
            is 0 where factors are whole.
    """

    layer: str
    shape: tuple[int, ...]
    parts: Mapping[str, Tensor]
    strength: Callable[[int], float]

    def factor(self, rank: int) -> float:
        """What the product is multiplied by: the layer's own alpha comes before the file's."""
        own = self.parts.get(SCALAR)
        scalar = 1.0 if own is None else float(own)
        return scalar * self.strength(rank)


@dataclass(frozen=True)
class Adapter:
    """Layers of one kind and one rank.

    Attributes:
        layers: those that it is to change.
        tuner: peft's class that changes them.
        config: what the class is told.
        tensors: by peft's names in the network.
    """

    layers: Collection[str]
    tuner: Callable[[nn.Module, PeftConfig, str], BaseTuner]
    config: PeftConfig
    tensors: Mapping[str, Tensor]


def adapters(all_factors: Iterable[Factors]) -> Iterator[Adapter]:
    """Factors, each group of one kind and rank together.

    On the meta device it is a check of their shapes.

    Raises:
        ValueError: factors are missing, or their shapes are not those of the layer.
    """
    groups: dict[tuple[Any, ...], tuple[list[str], dict[str, Tensor]]] = {}
    for factors in all_factors:
        kind, parts = _as_peft(factors)
        layers, tensors = groups.setdefault(kind, ([], {}))
        layers.append(factors.layer)
        tensors |= {f"{factors.layer}.{name}": part.contiguous() for name, part in parts.items()}
    for (make, *options), (layers, tensors) in groups.items():
        config = make(*options, layers)
        yield Adapter(layers, TUNERS[type(config)], config, tensors)


def _as_peft(factors: Factors) -> tuple[tuple[Any, ...], Parts]:
    """How the layers' config is made (a function and what it is told), and peft's own tensors."""
    parts = factors.parts
    for needed, convert in KINDS:
        if parts.keys() & needed:
            try:
                return convert(factors, {name: part.float() for name, part in parts.items()})
            except KeyError as error:
                raise ValueError(f"{factors.layer} has no factor {error.args[0]}") from error
    raise ValueError(f"{factors.layer} has {', '.join(sorted(parts))} and no factors")


def _lora(factors: Factors, parts: Parts) -> tuple[tuple[Any, ...], Parts]:
    down, up = parts[DOWN], parts[UP]
    if MID in parts:  # of a convolution: a kernel between two products
        down = torch.einsum("rs...,si->ri...", parts[MID], down.flatten(1))
    rank = len(down)
    factor = factors.factor(rank)
    found = {
        "lora_A.weight": _shaped(factors, down, (rank, *factors.shape[1:])),
        "lora_B.weight": _shaped(
            factors, up, (factors.shape[0], rank, *(1 for _ in factors.shape[2:]))
        )
        * factor,
    }
    if BIAS in parts:
        found["lora_B.bias"] = parts[BIAS] * factor
    if magnitude := _magnitude(factors, parts):
        found["lora_magnitude_vector"] = magnitude[0]
    return (_lora_config, rank, bool(magnitude), BIAS in parts), found


def _magnitude(factors: Factors, parts: Parts) -> tuple[Tensor, ...]:
    """DoRA's magnitudes as peft has them, one an output; none where it is a plain LoRA."""
    outputs = factors.shape[0]
    shape = (outputs,) if len(factors.shape) == 2 else (1, outputs, *(1 for _ in factors.shape[2:]))
    if OVER_OUTPUTS in parts:
        scale = parts[OVER_OUTPUTS]
        if len(scale) != outputs:
            raise ValueError(f"{factors.layer} has DoRA magnitudes of inputs, which are not merged")
        return (_shaped(factors, scale, shape),)
    if MAGNITUDE in parts:
        return (_shaped(factors, parts[MAGNITUDE], shape),)
    return ()


def _loha(factors: Factors, parts: Parts) -> tuple[tuple[Any, ...], Parts]:
    tucker = "hada_t1" in parts
    names = ["hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"]
    names += ["hada_t1", "hada_t2"] if tucker else []
    found = {name: parts[name] for name in names}
    rank = len(found["hada_w1_b"])
    outputs, inputs = factors.shape[0], math.prod(factors.shape[1:])
    for number in (1, 2):
        left, right = found[f"hada_w{number}_a"], found[f"hada_w{number}_b"]
        expected = (
            (rank, outputs, rank, factors.shape[1]) if tucker else (outputs, rank, rank, inputs)
        )
        if (*left.shape, *right.shape) != expected:
            raise _misfit(factors, left)
    found["hada_w1_a"] = found["hada_w1_a"] * factors.factor(rank)
    return (_loha_config, rank, tucker), found


def _lokr(factors: Factors, parts: Parts) -> tuple[tuple[Any, ...], Parts]:
    left, left_rank = _whole(parts, "lokr_w1")
    right, right_rank = _whole(parts, "lokr_w2")
    outputs, inputs = factors.shape[:2]
    kernel = tuple(right.shape[2:]) or (1,) * len(factors.shape[2:])
    product = (left.shape[0] * right.shape[0], left.shape[1] * right.shape[1], *kernel)
    if product != factors.shape:
        right = right.reshape(len(right), -1, *factors.shape[2:])
        if (len(left) * len(right), left.shape[1] * right.shape[1]) != (outputs, inputs):
            raise _misfit(factors, left)
    factor = factors.factor(left_rank or right_rank)
    split = _decompose_factor(factors, left)
    found = {
        "lokr_w1": left * factor,
        "lokr_w2": right.reshape(*right.shape[:2], *factors.shape[2:]),
    }
    return (_lokr_config, split), found


def _whole(parts: Parts, name: str) -> tuple[Tensor, int]:
    """A factor of a LoKr multiplied out, and its rank; 0 where it was no product."""
    if name in parts:
        return parts[name], 0
    left, right = parts[f"{name}_a"], parts[f"{name}_b"]
    if "lokr_t2" in parts and name == "lokr_w2":
        return torch.einsum("ij...,ip,jr->pr...", parts["lokr_t2"], left, right), len(right)
    return left @ right, len(right)


def _decompose_factor(factors: Factors, left: Tensor) -> int:
    """The setting of peft under which it would split the layer as the file does."""
    outputs, inputs = factors.shape[:2]
    for factor in (*left.shape, -1):
        splits = factorization(outputs, factor)[0], factorization(inputs, factor)[0]
        if splits == tuple(left.shape):
            return int(factor)
    raise ValueError(f"{factors.layer} has a LoKr of {tuple(left.shape)}, which peft has not")


KINDS = (
    ({DOWN, UP}, _lora),
    ({"hada_w1_a", "hada_w2_a"}, _loha),
    ({"lokr_w1", "lokr_w1_a"}, _lokr),
)
"""By which parts each kind is known, and how peft has it."""


TUNERS: Mapping[type[PeftConfig], Any] = {
    LoraConfig: LoraModel,
    LoHaConfig: LoHaModel,
    LoKrConfig: LoKrModel,
}


def _lora_config(rank: int, dora: bool, bias: bool, layers: list[str]) -> PeftConfig:
    return LoraConfig(r=rank, lora_alpha=rank, use_dora=dora, lora_bias=bias, target_modules=layers)


def _loha_config(rank: int, tucker: bool, layers: list[str]) -> PeftConfig:
    return LoHaConfig(r=rank, alpha=rank, use_effective_conv2d=tucker, target_modules=layers)


def _lokr_config(decompose_factor: int, layers: list[str]) -> PeftConfig:
    return LoKrConfig(
        r=LARGE, alpha=LARGE, decompose_factor=decompose_factor, target_modules=layers
    )


def _shaped(factors: Factors, part: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A factor in the shape that the layer needs: kernels of one pixel come and go."""
    if part.numel() != math.prod(shape) or not _alike(part.shape, shape):
        raise _misfit(factors, part)
    return part.reshape(shape)


def _alike(one: Iterable[int], other: Iterable[int]) -> bool:
    return [side for side in one if side != 1] == [side for side in other if side != 1]


def _misfit(factors: Factors, part: Tensor) -> ValueError:
    return ValueError(
        f"{factors.layer} has a weight of {factors.shape}, and the file a factor of "
        f"{tuple(part.shape)} for it"
    )
