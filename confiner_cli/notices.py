"""What a person should know before a run, a line each: what of their words has no effect, what is too little."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from confiner_cli.experts.expert import Expert
from confiner_cli.knowledge import read_knowledge
from confiner_cli.settings import Settings


def notices(settings: Settings, experts: Mapping[str, Expert]) -> Iterator[str]:
    """Remarks about the prompts and the steps."""
    if settings.experts.knows is not None:
        yield from read_knowledge(settings.experts.knows).notices(settings.experts.name, settings.prompt)
    for name, text in (("prompt", settings.prompt), ("negative prompt", settings.negative_prompt)):
        for unread in sorted({expert.text.unread(text) for expert in experts.values()} - {""}):
            yield f"the text encoder does not read the end of the {name}: {unread!r}"
    yield from _without_effect(settings, experts)
    yield from _too_few_steps(settings)


def _without_effect(settings: Settings, experts: Mapping[str, Expert]) -> Iterator[str]:
    deaf = [role for role, expert in experts.items() if expert.guidance_scale == 1.0]
    if settings.negative_prompt and deaf:
        yield f"the negative prompt has no effect on the {' and the '.join(deaf)} expert: guidance_scale is 1"


def _too_few_steps(settings: Settings) -> Iterator[str]:
    structure = settings.scheduler.structure
    least = settings.experts.role(structure.expert).least_steps
    if structure.num_inference_steps < least:
        yield (
            f"the {structure.expert} expert needs {least} steps or more: "
            f"scheduler.structure.num_inference_steps={structure.num_inference_steps} is too few"
        )
