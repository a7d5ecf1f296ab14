r"""Measure confiner on a GPU, without weight files and without a network.

    python scripts/gpu_check.py --out DIR

Expert sets of published sizes with random weights make videos by the product's own run: seconds a
stage, operations a second beside what the device can do, and the seconds that they alone would
take; the first run with each choice that there is (`--choices`); what the CPU waits for; peak
memory with every memory setting beside the product's estimate; and what a user would run instead,
on the same weights: the temporal expert alone, and diffusers' AnimateDiffPipeline where the control
expert is one of AnimateDiff. A set makes those runs that it can. Prints Markdown tables; with
--out, DIR/results.md and DIR/results.json have what is measured so far at any time.

    python scripts/gpu_check.py --sets modelscope_sd --sizes 512x512 --temporal-steps 100 \
        --runs confiner_9_unguided confiner_9 temporal --memories --out DIR

is what `docs/benchmarks.md` has limits and targets for, in a few minutes.

    python scripts/gpu_check.py --sets wan --sizes 480x832 --temporal-steps 50 --out DIR

is Wan 2.1's smaller network at what it was published for, 81 frames.

`--small` is the same with a tenth of the channels: a minute on a CPU, to see that the script works.
The host needs memory for all networks of a set (9 GB in 16 bits), as with memory=low; for `wan` it
needs 30 GB, since with some settings the text encoder computes there.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from confiner_cli.config.hydra import settings_with
from confiner_cli.errors import ConfinerError
from confiner_cli.experts.device import device_of, dtype_of
from confiner_cli.experts.offload import POLICIES
from confiner_cli.runs.provenance import versions
from gpu.measure import (
    ALONE,
    CHOICES,
    RUNS,
    Case,
    Row,
    Setup,
    chosen,
    is_possible,
    make_networks,
    measured,
    runs_of,
    temporal_alone,
    with_waits,
)
from gpu.networks import Models, random_weights
from gpu.tables import GIB, report

SIZES = {"lavie_sd": [(320, 512)], "modelscope_sd": [(256, 256), (512, 512)]}
"""The sizes that the sets are measured at, unless told; others at their own."""
TIMES = 20
"""How often a product of matrices is done."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    options.words = sys.argv[1:] if arguments is None else arguments
    cases: list[Case] = []
    rows: list[Row] = []
    try:
        header = header_of(options)
        with tempfile.TemporaryDirectory() as folder, random_weights():
            models = Models(Path(folder), options.small)
            setup = Setup(models, options.device, options.dtype, options.repeats)
            for case, row in measure(options, setup):
                cases.append(case)
                rows.append(row)
                say(row)
                if options.out:
                    write(options.out, header, rows)
            rows = list(counting(cases, rows, setup))
            if options.out:
                write(options.out, header, rows)
    except ConfinerError as error:  # of a row it is the row's own
        print(error.lines(), file=sys.stderr)
        return error.exit_code
    print(report(header, rows))
    return 1 if any(row.failure not in (None, "out of memory") for row in rows) else 0


def parser() -> argparse.ArgumentParser:
    runs = (*RUNS, *ALONE, "temporal")
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument(
        "--sets", nargs="+", default=["lavie_sd", "modelscope_sd"], help="expert sets"
    )
    made.add_argument(
        "--sizes",
        nargs="+",
        type=size_of,
        metavar="HxW",
        help="for all sets (default: each set's own)",
    )
    made.add_argument("--frames", type=int, help="default: each set's own, or 4 of small networks")
    made.add_argument(
        "--runs", nargs="+", choices=runs, default=runs, metavar="RUN", help=f"of {', '.join(runs)}"
    )
    made.add_argument(
        "--temporal-steps",
        nargs="+",
        type=int,
        default=[50, 100],
        help="of the temporal expert alone",
    )
    made.add_argument("--memory", choices=("auto", *POLICIES), default="auto", help="of all runs")
    made.add_argument(
        "--memories",
        nargs="*",
        choices=tuple(POLICIES),
        default=list(POLICIES),
        help="of the first run",
    )
    made.add_argument(
        "--choices", nargs="*", default=CHOICES, help="settings to add to the first run, each alone"
    )
    made.add_argument("--repeats", type=int, default=3, help="after a first time")
    made.add_argument("--device", default="auto")
    made.add_argument("--dtype", default="auto", help="auto, bf16, fp16 or fp32")
    made.add_argument("--small", action="store_true", help="small networks, 64x64 unless told")
    made.add_argument(
        "--out", type=Path, metavar="DIR", help="where results.md and results.json go"
    )
    return made


def measure(options: argparse.Namespace, setup: Setup) -> Iterator[tuple[Case, Row]]:
    """The rows, one after another. A set's networks are made once."""
    for experts in options.sets:
        todo = [list(cases_of(options, experts, size)) for size in sizes(options, experts)]
        if not todo[0]:
            raise ConfinerError(
                f"--runs has none of the set {experts}", f"--runs {' '.join(runs_of(experts))}"
            )
        make_networks(todo[0][0], setup)
        for group in todo:
            rows = []
            for case in group:
                rows.append(measured(case, setup))
                yield case, rows[-1]
            memories = [name for name in options.memories if name != rows[0].memory]
            others = [replace(group[0], memory=memory) for memory in memories]
            # Last: of networks that are compiled there are others in the host's memory.
            others += [chosen(group[0], choice) for choice in options.choices]
            for case in others:
                if is_possible(case, setup):
                    yield case, measured(case, setup)


def counting(cases: Sequence[Case], rows: Sequence[Row], setup: Setup) -> Iterator[Row]:
    """The same rows; of a GPU with their waits, which are counted when all else is measured."""
    if device_of(setup.device).type != "cuda":
        yield from rows
        return
    experts = cases[-1].experts if cases else ""
    for case, row in zip(cases, rows, strict=True):
        if case.experts != experts:
            make_networks(case, setup)
            experts = case.experts
        yield with_waits(row, case, setup)


def sizes(options: argparse.Namespace, experts: str) -> list[tuple[int, int]]:
    """Those that are wanted of a set, height and width."""
    if options.sizes or options.small:
        return options.sizes or [(64, 64)]
    native = settings_with([f"experts={experts}"]).experts
    return SIZES.get(experts, [(native.height, native.width)])


def size_of(text: str) -> tuple[int, int]:
    """Height and width of `HxW`."""
    height, _, width = text.partition("x")
    return int(height), int(width)


def cases_of(options: argparse.Namespace, experts: str, size: tuple[int, int]) -> Iterator[Case]:
    """Each run with the main memory setting."""
    native = settings_with([f"experts={experts}"]).experts.num_frames
    frames = options.frames or (4 if options.small else native)
    for name, overrides in wanted(options.runs, options.temporal_steps, experts).items():
        yield Case(experts, *size, frames, name, overrides, options.memory)


def wanted(
    names: Sequence[str], temporal_steps: Sequence[int], experts: str
) -> dict[str, tuple[str, ...]]:
    """The overrides of the runs that a set can make, in their order."""
    known, found = runs_of(experts), dict[str, tuple[str, ...]]()
    for name in names:
        if name == "temporal":
            for steps in temporal_steps:
                found |= temporal_alone(steps)
        elif name in known:
            found[name] = known[name]
    return found


def header_of(options: argparse.Namespace) -> dict[str, Any]:
    """What everything was measured on and with."""
    device = device_of(options.device)
    dtype = dtype_of(options.dtype, device)
    facts: dict[str, Any] = {"device": str(device), "threads": torch.get_num_threads()}
    if device.type == "cuda":
        card = torch.cuda.get_device_properties(device)
        facts = {
            "device": card.name, "memory": f"{card.total_memory / GIB:.1f} GiB",
            "CUDA": torch.version.cuda,
            "cuDNN": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
        }  # fmt: skip
    return {
        **facts, **versions(), "dtype": str(dtype).removeprefix("torch."),
        "networks": "small" if options.small else "of published sizes", "repeats": options.repeats,
        "matmul TFLOP/s": round(matmul_peak(device, dtype), 3),
        "command": shlex.join(["python", "scripts/gpu_check.py", *options.words]),
    }  # fmt: skip


def matmul_peak(device: torch.device, dtype: torch.dtype) -> float:
    """TFLOP/s of the fastest of a few products of square matrices."""
    sides = (4096, 8192, 16384) if device.type == "cuda" else (512,)
    best = 0.0
    for side in sides:
        a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
        for _ in range(3):
            a @ b
        synchronize(device)
        started = time.perf_counter()
        for _ in range(TIMES):
            a @ b
        synchronize(device)
        best = max(best, TIMES * 2 * side**3 / (time.perf_counter() - started) / 1e12)
    return best


def synchronize(device: torch.device) -> None:
    """Wait until a GPU has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def say(row: Row) -> None:
    """One line on stderr as soon as a row is there."""
    outcome = row.failure or f"{row.first_seconds:.2f} s, then {row.seconds:.2f} s"
    print(
        f"{row.experts} {row.height}x{row.width} {row.run} {row.memory}: {outcome}",
        file=sys.stderr,
        flush=True,
    )


def write(folder: Path, header: dict[str, Any], rows: Sequence[Row]) -> None:
    """The tables and the rows as they are so far."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.md").write_text(report(header, rows), encoding="utf-8")
    facts = {**header, "rows": [asdict(row) for row in rows]}
    (folder / "results.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
