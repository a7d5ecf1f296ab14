"""What a person should know before a run, a line each: what of their words has no effect, what is too little."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from confiner_cli.config.method_options import timeline_of
from confiner_cli.config.schema import Settings
from confiner_cli.config.vocabulary import read_knowledge
from confiner_cli.experts.expert import Expert


def notices(settings: Settings, experts: Mapping[str, Expert]) -> Iterator[str]:
    """Remarks about the prompts and the steps."""
    prompts = {"prompt": settings.prompt} | {
        f"prompt at {at}": text for at, text in settings.prompts.items()
    }
    if settings.experts.knows is not None:
        knowledge = read_knowledge(settings.experts.knows)
        for text in dict.fromkeys(prompts.values()):
            yield from knowledge.notices(settings.experts.name, text)
    for name, text in (prompts | {"negative prompt": settings.negative_prompt}).items():
        for unread in sorted({expert.text.unread(text) for expert in experts.values()} - {""}):
            yield f"the text encoder does not read the end of the {name}: {unread!r}"
    yield from _without_effect(settings, experts)
    if not settings.structure.video:
        yield from _late(settings)
        yield from _too_few_steps(settings)


def _late(settings: Settings) -> Iterator[str]:
    """Prompts that the structures take over later than asked: each has the prompt of its start."""
    length = timeline_of(settings).length
    for frame in settings.prompts:
        start = -(-frame // length) * length
        if start >= settings.length:
            yield f"the prompt at {frame} comes after the last structure's start: it takes part in the refinement only"
        elif start != frame:
            yield f"the prompt at {frame} decides the structure from frame {start} on, where the next segment starts"


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
