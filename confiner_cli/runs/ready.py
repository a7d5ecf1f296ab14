"""What is known of experts once they are loaded: values, which travel and can be written down."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from confiner_cli.config.job import Job
from confiner_cli.runs.provenance import versions

if TYPE_CHECKING:  # diffusers comes with it, and who only reads the values loads nothing
    from confiner_cli.experts.identity import Weights
    from confiner_cli.runs.loaded_pipeline import LoadedPipeline


@dataclass(frozen=True)
class Ready:
    """Experts that are ready to make the videos of jobs.

    Attributes:
        notices: one-line remarks about the prompts, the steps and a given video.
        memory: the `memory=` that `auto` came to.
        weights: the files that the experts are made of, hashed, by role.
        threads: how many compute on the CPU.
        device: the name of what they compute on.
        dtype: the precision, by torch's name.
        host: the machine.
        versions: of the packages that decide the frames there.
        frames_at_once: so many are decoded, and handed to an encoder.
        base_noise: what the first structure starts from, `(sample, channel, frame, height, width)`
            on the CPU; None where no latents are kept.
    """

    notices: tuple[str, ...]
    memory: str
    weights: Mapping[str, Weights]
    threads: int
    device: str
    dtype: str
    host: str
    versions: Mapping[str, str]
    frames_at_once: int
    base_noise: Tensor | None

    def facts(self) -> dict[str, Any]:
        """What run.json has of it."""
        names = ("notices", "memory", "threads", "weights", "device")
        return {name: getattr(self, name) for name in names}


def ready_of(loaded: LoadedPipeline, jobs: Sequence[Job]) -> Ready:
    """What is known of experts that this process has loaded for jobs."""
    device, keeps = loaded.pipeline.device, jobs[0].settings.output.save_latents
    return Ready(
        notices=loaded.notices,
        memory=loaded.policy.name,
        weights=loaded.weights,
        threads=torch.get_num_threads(),
        device=device_name(device),
        dtype=str(loaded.dtype).removeprefix("torch."),
        host=socket.gethostname(),
        versions=versions(),
        frames_at_once=loaded.policy.decode_batch,
        base_noise=loaded.pipeline.initial_noise(0).cpu() if keeps else None,
    )


def device_name(device: torch.device) -> str:
    """The GPU's own name, else the kind of device."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
