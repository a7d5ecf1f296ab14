"""Count what the networks cost: `python scripts/count_costs.py [NETWORK ...]`, all by default.

Writes `confiner_cli/costs/table.json`; rows of networks that are not counted stay.

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

import itertools
import json
import sys
import weakref
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from diffusers.utils import logging as diffusers_logging
from torch import Tensor, no_grad, ops
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from confiner_cli.costs.table import TABLE, Cost, costs, terms
from counting.networks import NAMES, subject
from counting.subject import SHOWN, Size, Subject

CONVENTION = (
    "One forward pass of one sample (guidance takes two), a VAE's of its decoder or, where its "
    "name ends so, of its encoder, a text encoder's of one prompt. parameters: of the whole VAE in "
    "both. With F frames of P tiles of 64 x 64 pixels a cost is the sum of factors times 1, F, "
    "F P, F P^2, F^2 P, F^2 P^2, P; those left out at the end are zero. With a time_factor of k "
    "the first frame of a video is one of the F, and so is each k after it. flops: 2 per "
    "multiply-add, of matrix products, convolutions and attention. activation_bytes: the largest "
    "sum of live tensors beside the weights, in 16 bits (of Wan's VAE, which computes in 32, in "
    "these), with fused attention. residual: the largest relative error at sizes that were not "
    "fitted. Written by scripts/count_costs.py."
)


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
    attend = ops.aten._scaled_dot_product_efficient_attention
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
        no_grad(),
    ):
        watched.forward(*inputs)
    return flops.get_total_flops(), live.peak


def factors(
    sizes: Iterable[Size], counts: Iterable[int], places: Collection[int]
) -> tuple[int, ...]:
    """The whole factors of the terms at `places`: those nearest to the counts, relatively.

    Args:
        sizes: with the network's own frames.
        counts: one of each size.
        places: of terms in `terms`; others before the last are zero.
    """
    wanted = np.array([*counts], dtype=np.float64)
    grown = np.array([[terms(*size)[place] for place in places] for size in sizes])
    found = np.linalg.lstsq(grown / wanted[:, None], np.ones_like(wanted), rcond=None)[0]
    by_place = dict(zip(places, map(round, found), strict=True))
    return tuple(by_place.get(place, 0) for place in range(max(places) + 1))


def cost_of(watched: Subject) -> Cost:
    """A network's factors."""
    fit = watched.fit
    flops, live = zip(*(count(watched, size) for size in fit.fitted), strict=True)
    sizes = [fit.own(size) for size in fit.fitted]
    return Cost(
        watched.parameters,
        factors(sizes, flops, fit.flops_terms),
        factors(sizes, live, fit.bytes_terms),
        fit.time_factor,
    )


def residual(cost: Cost, watched: Subject) -> dict[str, float]:
    """The largest relative errors at sizes that are held out, to six decimals."""
    worst = {"flops": 0.0, "activation_bytes": 0.0}
    for size in watched.fit.held_out:
        for kind, counted in zip(worst, count(watched, size), strict=True):
            worst[kind] = max(worst[kind], abs(getattr(cost, kind)(*size) / counted - 1))
    return {kind: round(error, 6) for kind, error in worst.items()}


def row(cost: Cost, errors: Mapping[str, float]) -> dict[str, Any]:
    """What the table says about a network."""
    counted = {"flops": cost.flops_of_terms, "activation_bytes": cost.bytes_of_terms}
    time = {} if cost.time_factor == 1 else {"time_factor": cost.time_factor}
    return {"parameters": cost.parameters, **time, **counted, "residual": errors}


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
    rows = json.loads(TABLE.read_text(encoding="utf-8"))["networks"]
    for name in sys.argv[1:] or NAMES:
        watched = subject(name)
        cost = cost_of(watched)
        rows[name] = row(cost, residual(cost, watched))
    TABLE.write_text(text_of(rows), encoding="utf-8")
    print("\n".join(report(costs())))


if __name__ == "__main__":
    main()
