"""An expert: a network with its text encoder, schedule and guidance; and with a prompt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial

import torch
from torch import Tensor

from confiner_cli.experts.conditioning import Conditioning
from confiner_cli.experts.network import Network
from confiner_cli.experts.text_reader import TextReader
from confiner_cli.method.estimate import Estimate, estimate
from confiner_cli.method.guidance import Guided
from confiner_cli.method.options import GuidanceOptions
from confiner_cli.method.schedule import Schedule
from confiner_cli.method.walk import Denoiser

UNGUIDED = GuidanceOptions()


@dataclass(frozen=True, eq=False)
class Expert:
    """One of the three roles, ready to be given prompts.

    Attributes:
        role: `control`, `spatial` or `temporal`.
        network: what is asked.
        text: what reads prompts.
        schedule: the noise schedule that it was trained on.
        prediction_type: what the network predicts (`estimate.PREDICTION_TYPES`).
        device, dtype: where and in which precision the network computes.
        guidance_batched: guidance is one pass of two samples instead of two passes of one.
    """

    role: str
    network: Network
    text: TextReader
    schedule: Schedule
    prediction_type: str
    device: torch.device
    dtype: torch.dtype
    guidance_batched: bool = False

    def load(self) -> None:
        """Load its networks now, which else happens when they are first called.

        Raises:
            ConfinerError: their weights are damaged, or not those of these networks.
        """
        self.text.load()
        self.network.load()

    def condition(
        self,
        prompt: str,
        negative_prompt: str = "",
        guidance: GuidanceOptions = UNGUIDED,
    ) -> Denoiser:
        """The denoiser for a prompt.

        Args:
            prompt: what the video shows.
            negative_prompt: what it does not show; without guidance it has no effect.
            guidance: how strong, and at which levels.
        """
        conditional = self.given(self.text(prompt))
        if guidance.scale == 1.0:
            return conditional
        unconditional = self.given(self.text.negative(negative_prompt))
        at_once = conditional.conditioning.goes_with(unconditional.conditioning)
        batched = None
        if self.guidance_batched and at_once:
            batched = conditional.batched_with(unconditional)
        return Guided(conditional, unconditional, guidance, batched)

    def given(self, conditioning: Conditioning) -> Prompted:
        """The denoiser for what its text encoder, or several prompts together, have made."""
        told = cache(partial(self.network.remembering, conditioning))
        return Prompted(self, conditioning, told, self.schedule)


@dataclass(frozen=True, eq=False)
class Prompted:
    """An expert with a prompt, or with several: a denoiser without guidance.

    Precision is changed here and nowhere else, and the device where the sample is on another one.

    Attributes:
        expert: who answers.
        conditioning: for one sample, or for a number of samples that divides each batch.
        told: the same with what the network remembers of it, which is computed once.
        schedule: what its predictions are read on.
    """

    expert: Expert
    conditioning: Conditioning
    told: Callable[[], Conditioning]
    schedule: Schedule

    @torch.no_grad()
    def __call__(self, x_t: Tensor, t: float) -> Estimate:
        """Estimate `x_t`, `(batch, channel, frame, height, width)`, on its device, in its dtype."""
        expert = self.expert
        # The network has its own precision; the sampling around it stays in x_t's, so its
        # arithmetic is the same whatever a network computes in.
        sample = x_t.to(expert.device, expert.dtype)
        told = expert.schedule.told(t)
        timestep = torch.full((), told, dtype=torch.float32, device=expert.device)
        output = expert.network(sample, timestep, self.told().for_batch(len(x_t))).to(x_t)
        return estimate(expert.prediction_type, x_t, output, self.schedule.level(t))

    def batched_with(self, other: Prompted) -> Prompted:
        """The denoiser of batches of which one half has this prompt and one half the other's."""
        both = self.conditioning.followed_by(other.conditioning)
        return replace(self.expert.given(both), schedule=self.schedule)

    def read_on(self, schedule: Schedule) -> Prompted:
        """The same network and text, the prediction read on another schedule."""
        return replace(self, schedule=schedule)
