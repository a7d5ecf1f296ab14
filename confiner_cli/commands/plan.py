"""`confiner plan`: what `generate` would do with the same words, what it costs, what is missing."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from confiner_cli.config.job import Job

HELP = """\
usage: confiner plan [key=value ...]

takes what `confiner generate` takes (the prompt may be left out) and prints, without loading
anything: the stages, the networks' evaluations, passes and operations, the memory for each memory=
setting, and which files are missing
"""
GB, TERA = 1e9, 1e12


def main(arguments: list[str]) -> int:
    """Print the plan of one run."""
    if "-h" in arguments or "--help" in arguments:
        print(HELP, end="")
        return 0
    from confiner_cli.config.resolve import resolve
    from confiner_cli.runs.provenance import settings_of_words

    job = resolve(settings_of_words(arguments))
    print("\n".join(_lines(job)))
    return 0


def _lines(job: Job) -> Iterator[str]:
    settings, timeline = job.settings, job.timeline
    height, width = job.size
    yield (
        f"{settings.experts.name}, {settings.scheduler.name}: {job.num_frames} frames, "
        f"{height}x{width} pixels, {job.fps} fps"
    )
    if 1 < timeline.structure_count < math.inf:
        yield (
            f"{timeline.structure_count} structures of {timeline.length} frames, "
            f"{timeline.window_count} refinement windows that share {timeline.overlap} frames"
        )
    yield ""
    yield from _costs(job)
    yield ""
    yield from _memory(job)
    yield ""
    yield from _files(job)


def _costs(job: Job) -> Iterator[str]:
    from confiner_cli.costs.estimate import rows

    yield f"{'stage':<12}{'expert':<10}{'evaluations':>12}{'passes':>8}{'TFLOP':>10}"
    found = list(rows(job))
    for row in found:
        work = _operations(row.flops)
        yield f"{row.stage:<12}{row.role:<10}{row.evaluations:>12}{row.passes:>8}{work:>10}"
    known = [row.flops for row in found if row.flops is not None]
    total = sum(known) if len(known) == len(found) else None
    yield f"{'in all':<42}{_operations(total):>10}"


def _operations(flops: float | None) -> str:
    return "unknown" if flops is None else f"{flops / TERA:.3g}"


def _memory(job: Job) -> Iterator[str]:
    from confiner_cli.costs.memory import peak_bytes
    from confiner_cli.experts.offload import POLICIES

    shown = []
    for name in POLICIES:
        need = peak_bytes(job, name)
        shown.append(f"{name} unknown" if need is None else f"{name} {need / GB:.3g} GB")
    yield f"memory on a GPU in 16 bits (estimated): {', '.join(shown)}"


def _files(job: Job) -> Iterator[str]:
    from confiner_cli.experts.spec import requirements
    from confiner_cli.weights import hub

    for role, expert in job.experts.items():
        yield f"{role:<10}{', '.join(filter(None, (expert.licence, expert.size)))}"
        for _, requirement in requirements(role, expert):
            state = "missing" if hub.found(requirement) is None else "present"
            yield f"{'':<10}{state:<9}{requirement.ref}"
