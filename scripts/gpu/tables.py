"""Rows as Markdown tables. What was not measured, or is not known, is a dash."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from confiner_cli.config.schema import ROLES
from gpu.measure import Row
from gpu.waits import KINDS

GIB = 2**30
DASH = "–"
NOTES = """\
A run is all that `confiner generate` does once the networks' files are read: text, both stages, two
videos decoded and encoded, the contact sheet and the record. *First*: the networks come from the
host's memory and the size is new; *then*: the median of the runs after it, on which frames a second
and stages are based. *Evaluations* and *passes*: control + spatial + temporal; a guided evaluation
is two passes. Of the runs, *unguided* ones have no guidance in the refinement
(`scheduler.guidance_interval=[0.35,1.0]`); `control_4` and `draft_3` are the control expert alone,
`temporal_N` the temporal one in N guided steps, `animatediff_4` diffusers' AnimateDiffPipeline on
the control expert's networks. *Text*: reading the prompts, which a large text encoder does in the
first run alone; *files*: the rest of a run, such as waiting for the encoder and checking what it
wrote. *TFLOP/s* of UNets, or of transformers, are over structure and refinement. *Operations
alone*: the seconds that they would take at the speed of a product of matrices. *Waits* are counted
by torch's profiler when all is measured, in one more run, unless it takes over 10 s. Of the copies
to the CPU, those that do not wait are of frames; the thread that encodes waits for these. Weights
are random: times are those of real ones, pictures are not."""
REFINED = ("confiner_", "draft_refine")
"""What the names of runs begin with in which drafts are refined."""
TARGETS = {("modelscope_sd", "16x512x512", "confiner_9_unguided"): 1.2}
"""Seconds that a whole run should take on an H100, once it is warm."""


def report(header: Mapping[str, Any], rows: Sequence[Row]) -> str:
    """The whole text: what it was measured on, the tables."""
    lines = [f"- {name}: {value}" for name, value in header.items()]
    sections = {
        "Whole runs": runs(rows), "Where the time goes": stages(rows, header.get("matmul TFLOP/s")),
        "Against the limits": limits(rows, header.get("matmul TFLOP/s")),
        "What the CPU waits for": waiting(rows),
        "Memory": memories(rows), "Times faster than the temporal expert alone": ratios(rows),
    }  # fmt: skip
    for title, table in sections.items():
        if len(found := list(table)) > 2:  # more than the head
            lines += ["", f"### {title}", "", *found]
    return "\n".join([*lines, "", NOTES, ""])


def runs(rows: Iterable[Row]) -> Iterator[str]:
    """Every row: seconds, frames a second, counts, memory."""
    yield from _head(
        "set", "size", "run", "memory", "first, s", "then, s", "frames/s", "evaluations", "passes",
        "peak, GiB", "reserved, GiB",
    )  # fmt: skip
    for row in rows:
        if row.failure:
            yield _line(*_names(row), row.memory, row.failure, *[""] * 6)
            continue
        yield _line(
            *_names(row), row.memory, _number(row.first_seconds, 2), _number(row.seconds, 2),
            _number(_over(row.num_frames, row.seconds), 2),
            _counts(row.evaluations), _counts(row.passes),
            _number(_over(row.peak_bytes, GIB), 2), _number(_over(row.reserved_bytes, GIB), 2),
        )  # fmt: skip


def stages(rows: Iterable[Row], matmul: float | None) -> Iterator[str]:
    """Every row that was made: seconds a stage, and operations beside what the device can do."""
    yield from _head(
        "set", "size", "run", "memory", "text, s", "structure, s", "refinement, s", "decode, s",
        "files, s", "UNets, TFLOP", "TFLOP/s", "of matmul", "VAE, TFLOP", "TFLOP/s",
    )  # fmt: skip
    for row in rows:
        if not row.stages:
            continue
        seconds = (
            row.stages.get(name) for name in ("load", "structure", "refinement", "decode", "files")
        )
        unets, vae = _over(row.unet_flops, 1e12), _over(row.vae_flops, 1e12)
        speed = _over(unets, row.sampling)
        yield _line(
            *_names(row), row.memory, *(_number(value, 3) for value in seconds), _number(unets, 1),
            _number(speed, 1), _number(_over(speed, matmul), 2), _number(vae, 1),
            _number(_over(vae, row.stages.get("decode")), 1),
        )  # fmt: skip


def limits(rows: Iterable[Row], matmul: float | None) -> Iterator[str]:
    """Rows whose operations are known: a whole run beside what they alone would take."""
    yield from _head("set", "size", "run", "then, s", "operations alone, s", "times", "target, s")
    for row in rows:
        alone = _over(_over(row.flops, 1e12), matmul)
        if row.failure or alone is None:
            continue
        yield _line(
            *_names(row), _number(row.seconds, 2), _number(alone, 2),
            _number(_over(row.seconds, alone), 2), _number(TARGETS.get(_names(row)), 1),
        )  # fmt: skip


def waiting(rows: Iterable[Row]) -> Iterator[str]:
    """Rows that were counted: copies to the CPU and waits, of one whole run."""
    yield from _head("set", "size", "run", "memory", "evaluations", *KINDS.values())
    for row in rows:
        if row.waits:
            counts = (str(row.waits[kind]) for kind in KINDS.values())
            yield _line(*_names(row), row.memory, _counts(row.evaluations), *counts)


def memories(rows: Iterable[Row]) -> Iterator[str]:
    """The runs that were made with several memory settings: peaks beside the product's estimate."""
    yield from _head(
        "set", "size", "run", "memory", "peak, GiB", "estimate, GiB", "peak / estimate", "then, s"
    )
    rows = list(rows)
    settings: dict[tuple[str, ...], set[str]] = {}
    for row in rows:
        settings.setdefault(_names(row), set()).add(row.memory)
    for row in rows:
        if len(settings[_names(row)]) < 2:
            continue
        cells = (
            _number(_over(row.peak_bytes, GIB), 2), _number(_over(row.needed_bytes, GIB), 2),
            _number(_over(row.peak_bytes, row.needed_bytes), 2), _number(row.seconds, 2),
        )  # fmt: skip
        yield _line(
            *_names(row), row.memory, *((row.failure, "", "", "") if row.failure else cells)
        )


def ratios(rows: Iterable[Row]) -> Iterator[str]:
    """Refined runs beside the longest of the temporal expert alone: measured, and counted."""
    yield from _head(
        "set",
        "size",
        "run",
        "beside",
        "whole run",
        "by operations",
        "sampling alone",
        "by operations",
    )
    done = [row for row in rows if not row.failure]
    for row in _distinct(row for row in done if row.run.startswith(REFINED)):
        alone = [
            other
            for other in done
            if other.run.startswith("temporal_") and _place(other) == _place(row)
        ]
        if not alone:
            continue
        other = max(alone, key=lambda each: each.passes["temporal"])
        yield _line(
            *_names(row), other.run, _number(_over(other.seconds, row.seconds), 2),
            _number(_over(other.flops, row.flops), 2),
            _number(_over(other.sampling, row.sampling), 2),
            _number(_over(other.unet_flops, row.unet_flops), 2),
        )  # fmt: skip


def _distinct(rows: Iterable[Row]) -> list[Row]:
    """The first row of each name: the one with the main memory setting."""
    found: dict[tuple[str, ...], Row] = {}
    for row in rows:
        found.setdefault(_names(row), row)
    return list(found.values())


def _place(row: Row) -> tuple[str, int, int, int]:
    return row.experts, row.num_frames, row.height, row.width


def _names(row: Row) -> tuple[str, str, str]:
    return row.experts, f"{row.num_frames}x{row.height}x{row.width}", row.run


def _counts(of_role: Mapping[str, int]) -> str:
    return "+".join(str(of_role.get(role, 0)) for role in ROLES)


def _over(value: float | None, by: float | None) -> float | None:
    return None if value is None or not by else value / by


def _number(value: float | None, digits: int) -> str:
    return DASH if value is None else f"{value:.{digits}f}"


def _head(*names: str) -> Iterator[str]:
    yield _line(*names)
    yield "|" + "---|" * len(names)


def _line(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"
