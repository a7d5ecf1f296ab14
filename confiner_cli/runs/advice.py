"""What a person should know before a run, a line each: words without effect, too few steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch

from confiner_cli.config.job import Job
from confiner_cli.costs.cpus import usable_cpus
from confiner_cli.experts.device import is_slow_on_this_cpu
from confiner_cli.experts.expert import Expert
from confiner_cli.experts.families import family_named
from confiner_cli.runs.prompt_advice import prompt_advice
from confiner_cli.runs.threads import asked_threads


def advice(job: Job, experts: Mapping[str, Expert]) -> Iterator[str]:
    """Remarks about the prompts, the steps and the given video of a job.

    Args:
        job: what is to be made.
        experts: by role, those that are asked.
    """
    yield from prompt_advice(job, experts)
    yield from _without_effect(job)
    yield from job.losses
    yield from _other_families(job)
    if job.samples_structures:
        yield from _late_prompts(job)
        yield from _too_few_steps(job)


def device_advice(job: Job, device: torch.device, dtype: torch.dtype) -> Iterator[str]:
    """Remarks about settings that do not do on a CPU what they do on a GPU.

    Args:
        job: what is to be made.
        device: where networks compute.
        dtype: what they compute in.
    """
    if device.type != "cpu":
        return
    chosen = job.settings.memory
    if chosen in ("balanced", "low"):
        smaller = "; it makes passes smaller, no more" if chosen == "low" else ""
        yield f"memory={chosen} frees no network on a CPU, they all stay in RAM{smaller}"
    if is_slow_on_this_cpu(dtype):
        name = str(dtype).removeprefix("torch.")
        yield (
            f"this CPU has no {name} in hardware: a video may take five times as long as with "
            "dtype=float32"
        )
    threads, cpus = asked_threads(job.settings), usable_cpus()
    if threads is not None and threads > cpus:
        yield (
            f"threads={threads} are more than the CPUs that this process may use ({cpus}): they "
            "wait for each other"
        )


def _without_effect(job: Job) -> Iterator[str]:
    unguided = [role for role in job.asked if job.guidance[role].scale == 1.0]
    if job.negative_prompt and unguided:
        yield (
            f"the negative prompt has no effect on the {' and the '.join(unguided)} expert: "
            "guidance_scale is 1"
        )
    families = {job.experts[role].family for role in job.asked}
    if job.settings.frame_batch is not None and not any(map(_is_framewise, families)):
        yield "frame_batch= has no effect: all experts that are asked see frames together"


def _is_framewise(family: str) -> bool:
    framewise: bool = family_named(family).FRAMEWISE
    return framewise


def _other_families(job: Job) -> Iterator[str]:
    """What is done otherwise than asked, since the experts' timesteps are different things."""
    asked, done = job.settings.scheduler.refinement.timestep_matching, job.refinement
    if done.patterns and asked != done.timestep_matching:
        yield (
            "timestep_matching=snr: a timestep of a flow model and one of a schedule of betas say "
            "nothing of each other, so the experts meet at the same noise-to-signal ratio"
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
