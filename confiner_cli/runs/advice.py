"""What a person should know before a run, a line each: words without effect, too few steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from confiner_cli.config.job import Job
from confiner_cli.config.vocabulary import read_vocabulary
from confiner_cli.experts.expert import Expert


def advice(job: Job, experts: Mapping[str, Expert]) -> Iterator[str]:
    """Remarks about the prompts, the steps and the given video of a job.

    Args:
        job: what is to be made.
        experts: by role, those that are asked.
    """
    yield from _unlearnt_words(job)
    yield from _truncated_texts(job, experts)
    yield from _without_effect(job)
    yield from job.losses
    if job.samples_structures:
        yield from _late_prompts(job)
        yield from _too_few_steps(job)


def _unlearnt_words(job: Job) -> Iterator[str]:
    place = job.settings.experts.knows
    if place is not None:
        vocabulary = read_vocabulary(place)
        for text in dict.fromkeys(job.prompts.values()):
            yield from vocabulary.advice(job.settings.experts.name, text)


def _truncated_texts(job: Job, experts: Mapping[str, Expert]) -> Iterator[str]:
    texts = {"prompt": job.prompt}
    texts |= {f"prompt at {frame}": text for frame, text in job.prompts.items() if frame}
    texts["negative prompt"] = job.negative_prompt
    for name, text in texts.items():
        ends = {expert.text.truncated(text) for expert in experts.values()}
        for end in sorted(ends - {""}):
            yield f"the text encoder does not read the end of the {name}: {end!r}"


def _without_effect(job: Job) -> Iterator[str]:
    unguided = [role for role in job.asked if job.guidance[role].scale == 1.0]
    if job.negative_prompt and unguided:
        yield (
            f"the negative prompt has no effect on the {' and the '.join(unguided)} expert: "
            "guidance_scale is 1"
        )


def _late_prompts(job: Job) -> Iterator[str]:
    """Prompts that structures take over later than asked: each has the prompt of its start."""
    length = job.timeline.length
    for frame in job.prompts:
        start = -(-frame // length) * length
        if start >= job.num_frames:
            yield (
                f"the prompt at {frame} comes after the last structure's start: it takes part in "
                "the refinement only"
            )
        elif start != frame:
            yield (
                f"the prompt at {frame} decides the structure from frame {start} on, where the "
                "next segment starts"
            )


def _too_few_steps(job: Job) -> Iterator[str]:
    role, steps = job.structure.expert, job.structure.num_inference_steps
    least = job.experts[role].least_steps
    if steps < least:
        yield (
            f"the {role} expert needs {least} steps or more: "
            f"scheduler.structure.num_inference_steps={steps} is too few"
        )
