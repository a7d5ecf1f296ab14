"""`confiner plan`: what `confiner generate` would do with the same words, what it would cost, and what is missing."""

from __future__ import annotations

import math
from collections.abc import Iterator

from confiner_cli.config.schema import Settings

HELP = """\
usage: confiner plan [key=value ...]

takes what `confiner generate` takes (the prompt may be left out) and prints, without loading anything: the stages, the
networks' evaluations, passes and operations, the memory for each memory= setting, and which files are missing
"""
GB, TERA = 1e9, 1e12


def main(arguments: list[str]) -> int:
    """Print the plan of one run."""
    if "-h" in arguments or "--help" in arguments:
        print(HELP, end="")
        return 0
    from confiner_cli.config.hydra import compose, settings_of
    from confiner_cli.config.overrides import for_hydra
    from confiner_cli.config.resolve import resolved

    told = any(word.startswith(("prompt", "from=", "at=0:")) for word in arguments)
    words = arguments if told else [*arguments, "prompt=-"]
    settings = resolved(settings_of(compose(for_hydra(words, multirun=False))))
    print("\n".join(_lines(settings)))
    return 0


def _lines(settings: Settings) -> Iterator[str]:
    from confiner_cli.config.method_options import timeline_of

    yield (
        f"{settings.experts.name}, {settings.scheduler.name}: {settings.num_frames} frames, "
        f"{settings.height}x{settings.width} pixels, {settings.fps} fps"
    )
    timeline = timeline_of(settings)
    if 1 < timeline.structure_count < math.inf:
        yield (
            f"{timeline.structure_count} structures of {timeline.length} frames, {timeline.window_count} refinement "
            f"windows that share {timeline.overlap} frames"
        )
    yield ""
    yield from _costs(settings)
    yield ""
    yield from _memory(settings)
    yield ""
    yield from _files(settings)


def _costs(settings: Settings) -> Iterator[str]:
    from confiner_cli.costs.estimate import rows

    yield f"{'stage':<12}{'expert':<10}{'evaluations':>12}{'passes':>8}{'TFLOP':>10}"
    total, known = 0.0, True
    for row in rows(settings):
        known, total = known and row.flops is not None, total + (row.flops or 0)
        work = "unknown" if row.flops is None else f"{row.flops / TERA:.3g}"
        yield f"{row.stage:<12}{row.role:<10}{row.evaluations:>12}{row.passes:>8}{work:>10}"
    sum_of_all = f"{total / TERA:.3g}" if known else "unknown"
    yield f"{'in all':<42}{sum_of_all:>10}"


def _memory(settings: Settings) -> Iterator[str]:
    from confiner_cli.costs.memory import needed
    from confiner_cli.experts.offload import MEMORY

    needs = {name: needed(settings, name) for name in MEMORY}
    shown = ", ".join(
        f"{name} unknown" if need is None else f"{name} {need / GB:.3g} GB"
        for name, need in needs.items()
    )
    yield f"memory on a GPU in 16 bits (estimated): {shown}"


def _files(settings: Settings) -> Iterator[str]:
    from confiner_cli.config.roles import loaded_roles
    from confiner_cli.weights import hub
    from confiner_cli.weights.model_ref import needs

    for role in loaded_roles(settings):
        expert = settings.expert(role)
        yield f"{role:<10}{', '.join(text for text in (expert.licence, expert.size) if text)}"
        for _, need in needs(role, expert):
            place = hub.found(need)
            yield f"{'':<10}{'missing' if place is None else 'present':<9}{need.source}"
