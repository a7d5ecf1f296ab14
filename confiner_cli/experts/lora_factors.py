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
    ALPHA,
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
HADA = ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2")
LOKR = (
    "lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2",
)  # fmt: skip
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
    for known, telling, convert in KINDS:
        if not parts.keys() & telling:
            continue
        strange = sorted(parts.keys() - {*known, ALPHA, SCALAR})
        if strange:
            raise ValueError(f"{factors.layer} has {strange[0]} beside its factors: not merged")
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
    outputs, *rest = factors.shape
    factor, points = factors.factor(rank), [1] * len(rest[1:])
    found = {
        "lora_A.weight": _shaped(factors, down, (rank, *rest)),
        "lora_B.weight": _shaped(factors, up, (outputs, rank, *points)) * factor,
    }
    if BIAS in parts:
        found["lora_B.bias"] = parts[BIAS] * factor
    magnitude = _magnitude(factors, parts)
    kind = (_lora_config, rank, bool(magnitude), BIAS in parts)
    return kind, {**found, **magnitude}


def _magnitude(factors: Factors, parts: Parts) -> Parts:
    """DoRA's magnitudes as peft has them, one an output; empty where it is a plain LoRA."""
    outputs, _, *kernel = factors.shape
    shape = (1, outputs, *(1 for _ in kernel)) if kernel else (outputs,)
    found = parts.get(OVER_OUTPUTS, parts.get(MAGNITUDE))
    if found is None:
        return {}
    if OVER_OUTPUTS in parts and len(found) != outputs:
        raise ValueError(f"{factors.layer} has DoRA magnitudes of inputs, which are not merged")
    return {"lora_magnitude_vector": _shaped(factors, found, shape)}


def _loha(factors: Factors, parts: Parts) -> tuple[tuple[Any, ...], Parts]:
    in_three = "hada_t1" in parts  # a kernel between two products, as of a LoRA
    names = HADA if in_three else HADA[:4]
    found = {name: parts[name] for name in names}
    rank = len(found["hada_w1_b"])
    outputs, inputs, pixels = *factors.shape[:2], math.prod(factors.shape[2:])
    expected = ((rank, outputs), (rank, inputs))
    if not in_three:
        expected = ((outputs, rank), (rank, inputs * pixels))
    for name in HADA[:4]:
        if found[name].shape != expected[name.endswith("b")]:
            raise _misfit(factors, found[name])
    found["hada_w1_a"] = found["hada_w1_a"] * factors.factor(rank)
    return (_loha_config, rank, in_three), found


def _lokr(factors: Factors, parts: Parts) -> tuple[tuple[Any, ...], Parts]:
    left, left_rank = _whole(parts, "lokr_w1")
    right, right_rank = _whole(parts, "lokr_w2")
    right = right.reshape(len(right), -1, *factors.shape[2:])
    sides = (left.shape[0] * right.shape[0], left.shape[1] * right.shape[1])
    if sides != factors.shape[:2]:
        raise _misfit(factors, left)
    factor = factors.factor(left_rank or right_rank)
    kind = (_lokr_config, _decompose_factor(factors, left))
    return kind, {"lokr_w1": left * factor, "lokr_w2": right}


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
    ((DOWN, UP, MID, BIAS, MAGNITUDE, OVER_OUTPUTS), {DOWN, UP}, _lora),
    (HADA, {"hada_w1_a", "hada_w2_a"}, _loha),
    (LOKR, {"lokr_w1", "lokr_w1_a"}, _lokr),
)
"""The parts that each kind may have, those by which it is known, and how peft has it."""
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
