"""`confiner plan`: what `generate` would do with the same words, what it costs, what is missing."""

from __future__ import annotations

import math
from argparse import Namespace
from collections.abc import Iterator
from typing import TYPE_CHECKING

from confiner_cli.commands.arguments import CONFIG_HELP, Parser, source_of
from confiner_cli.commands.plan_sweep import sweep_lines
from confiner_cli.config.schema import HERE

if TYPE_CHECKING:
    from confiner_cli.config.job import Job
    from confiner_cli.config.overrides import Overrides
    from confiner_cli.costs.memory import RamNeed

HELP = (
    """\
usage: confiner plan [key=value ...] [-m]

takes what `confiner generate` takes (the prompt may be left out) and prints, without loading
anything: the stages, the networks' evaluations (a VAE's are frames), passes and operations, the
memory for each memory= setting and the RAM, and which files are missing; of a sweep (-m), how many
jobs there are of each cost, and what all take together; with executor=processes or ray, how long it
should take on how many workers

"""
    + CONFIG_HELP
)
GB, TERA = 1e9, 1e12
HALF = 2
A_LINE = 4
"""Visits in a line."""


def main(arguments: list[str]) -> int:
    """Print the plan of one run, or of a sweep."""
    if "-h" in arguments or "--help" in arguments:
        print(HELP, end="")
        return 0
    parser = Parser("plan")
    parser.add_argument("--multirun", "-m", action="store_true")
    overrides = _overrides(parser.read(arguments))
    lines = sweep_lines(overrides, _lines) if overrides.multirun else _single(overrides)
    print("\n".join(lines))
    return 0


def _overrides(options: Namespace) -> Overrides:
    """The words, with those that a config of the person's own has for a sweep."""
    from confiner_cli.config.overrides import parse_overrides
    from confiner_cli.config.sweep_config import sweep_config

    source, words = source_of(options), options.overrides
    swept = sweep_config(words, source)
    multirun = options.multirun or swept.is_sweep
    return parse_overrides(swept.words(words) if multirun else words, multirun, source)


def _single(overrides: Overrides) -> Iterator[str]:
    from confiner_cli.config.resolve import resolve
    from confiner_cli.runs.provenance import settings_of

    yield from _lines(resolve(settings_of(overrides)))


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
    yield from _visits(job)
    yield ""
    yield from _memory(job)
    yield ""
    yield from _files(job)
    if job.settings.executor != HERE:
        from confiner_cli.commands.plan_workers import workers_lines

        yield ""
        yield from workers_lines(job)


def _costs(job: Job) -> Iterator[str]:
    from confiner_cli.costs.estimate import rows

    found = list(rows(job))
    wide = max(10, *(len(row.role) + 1 for row in found))
    yield f"{'stage':<12}{'expert':<{wide}}{'evaluations':>12}{'passes':>8}{'TFLOP':>10}"
    for row in found:
        work = _operations(row.flops)
        yield f"{row.stage:<12}{row.role:<{wide}}{row.evaluations:>12}{row.passes:>8}{work:>10}"
    known = [row.flops for row in found if row.flops is not None]
    total = sum(known) if len(known) == len(found) else None
    yield f"{'in all':<{32 + wide}}{_operations(total):>10}"
    yield from _compiling(job)


def _visits(job: Job) -> Iterator[str]:
    """Who is asked when: at which timestep, and at which share of noise, common to all."""
    walks = {"structure": job.structure_visits, "refinement": job.refinement_visits}
    yield "asked at a timestep of the expert's own schedule / its share of noise, sigma"
    for stage, walk in walks.items():
        told = [f"{visit.role} {visit.t:.4g}/{visit.level.sigma:.3f}" for visit in walk]
        for first in range(0, len(told), A_LINE):
            cells = (f"{cell:<22}" for cell in told[first : first + A_LINE])
            yield f"{'' if first else stage:<12}{''.join(cells)}".rstrip()


def _compiling(job: Job) -> Iterator[str]:
    from confiner_cli.costs.compiling import compiling

    if job.settings.compile is False:
        return
    found = compiling(job)
    yield ""
    word = f"compile={str(job.settings.compile).lower()}"
    if found is None:
        yield f"{word}: what it takes and saves is known of the embedded experts alone, on a CPU"
        return
    yield (
        f"{word}, on one core of a CPU: {found.first:.0f} s in a first process, "
        f"{found.later:.0f} s in later ones"
    )
    if not found.saved:
        yield "it saves nothing there"
        return
    first, later = (found.pays_from(seconds) for seconds in (found.first, found.later))
    yield (
        f"it saves {found.saved:.2g} s a video, and pays from {first:.0f} videos on in one "
        f"process, from {later:.0f} on in a later one"
    )


def _operations(flops: float | None) -> str:
    return "unknown" if flops is None else f"{flops / TERA:.3g}"


def _memory(job: Job) -> Iterator[str]:
    from confiner_cli.costs.memory import peak_bytes
    from confiner_cli.experts.offload import POLICIES

    needs = {name: peak_bytes(job, name) for name in POLICIES}
    shown = [f"{name} {_gigabytes(need)}" for name, need in needs.items()]
    yield f"memory on a GPU in 16 bits (estimated): {', '.join(shown)}"
    yield from _ram(job)


def _ram(job: Job) -> Iterator[str]:
    """The machine's own memory, which networks take that compute on the CPU or make room."""
    from confiner_cli.costs.available import available
    from confiner_cli.costs.memory import policy_of, ram_need
    from confiner_cli.experts.offload import POLICIES

    beside = {name: ram_need(job, name, HALF, on_cpu=False) for name in POLICIES}
    shown = [f"{name} {_ram_of(need)}" for name, need in beside.items()]
    yield f"RAM beside that GPU (estimated): {', '.join(shown)}"
    name = policy_of(job, free=None).name
    alone = {bits: ram_need(job, name, bits // 8, on_cpu=True) for bits in (32, 16)}
    shown = [f"{_ram_of(need)} in {bits} bits" for bits, need in alone.items()]
    yield f"RAM without a GPU (estimated): {', '.join(shown)}"
    free = available()
    room = min(free.memory, free.addresses)
    if math.isfinite(room):
        yield f"RAM that is free here: {_gigabytes(room)}"


def _ram_of(need: RamNeed | None) -> str:
    return _gigabytes(None if need is None else need.total)


def _gigabytes(size: float | None) -> str:
    return "unknown" if size is None else f"{size / GB:.3g} GB"


def _files(job: Job) -> Iterator[str]:
    from confiner_cli.experts.spec import requirements
    from confiner_cli.weights import hub

    for role, expert in job.experts.items():
        yield f"{role:<10}{', '.join(filter(None, (expert.licence, expert.size)))}"
        for _, requirement in requirements(expert):
            state = "missing" if hub.found(requirement) is None else "present"
            yield f"{'':<10}{state:<9}{requirement.ref}"
