"""An expert's network in the one layout that all families share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Protocol

import torch
from torch import Tensor, nn

from confiner_cli.experts.adapted import adapted
from confiner_cli.experts.compiling import REGIONAL, Told, compiled
from confiner_cli.experts.components import Components
from confiner_cli.experts.conditioning import Conditioning
from confiner_cli.experts.families import family_named
from confiner_cli.experts.lora_names import UNET
from confiner_cli.experts.networks.arranged import arranged_unet
from confiner_cli.experts.networks.frame_parts import alike
from confiner_cli.experts.networks.text_attention import text_memory, with_text_memory
from confiner_cli.experts.offload import Handle, NetworkCache, OffloadPolicy


class Network(Protocol):
    """What an expert asks."""

    def __call__(self, x_t: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
        """Predict, all on the network's device.

        Args:
            x_t: `(batch, channel, frame, height, width)`, in the network's precision.
            t: the timestep, float32: one number for all, or `(batch,)`. A tensor and not a number,
                so that a compiled network is one graph for all timesteps.
            conditioning: for one sample, or for a number of samples that divides the batch.

        Returns:
            The raw prediction, in the shape of `x_t`.
        """

    def remembering(self, conditioning: Conditioning) -> Conditioning:
        """The same conditioning, with all of it that need not be computed at each call."""

    def load(self) -> None:
        """Load it now instead of when it is first called. Raises ConfinerError: it is damaged."""


@dataclass(frozen=True)
class FamilyNetwork:
    """A family's UNet.

    Attributes:
        family: the family's name.
        unet: the network in its own layout.
        frame_batch: frames that are predicted at once where each is predicted without the others;
            None is all.
        compiling: how it is compiled, one of `compiling.MODES`.
    """

    family: str
    unet: Handle
    frame_batch: int | None = None
    compiling: bool | str = False

    def __call__(self, x_t: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
        """See `Network`."""
        predict = family_named(self.family).predict
        with self.unet.computing() as unet:
            if self.frame_batch is None:
                prediction: Tensor = predict(unet, x_t, t, conditioning)
                return prediction
            # The same prediction in less memory.
            parts = alike(x_t, self.frame_batch, dim=2)
            return torch.cat([predict(unet, part, t, conditioning) for part in parts], dim=2)

    def remembering(self, conditioning: Conditioning) -> Conditioning:
        """See `Network`."""
        if self.compiling == REGIONAL:
            return conditioning  # each layer's own memory would make each block a graph of its own
        with self.unet.computing() as unet:
            return replace(conditioning, memory=text_memory(unet, conditioning.states))

    def load(self) -> None:
        """See `Network`."""
        self.unet()


def family_network(
    family: str,
    components: Components,
    policy: OffloadPolicy,
    cache: NetworkCache,
    compiling: bool | str = False,
) -> FamilyNetwork:
    """The network that an expert's components make.

    It is kept by what its files hold and nothing else: a sweep over guidance scales loads nothing
    twice, and a file that is saved anew is read anew.
    """
    role, device = components.role, components.device
    sources = chain.from_iterable(family_named(family).sources(components).values())
    key = (family, role, components.identity(sources), compiling)
    load = partial(_load, family, components, compiling, cache.compile_seconds.append)
    unet = Handle(key, role, device, policy, cache, load)
    frame_batch = policy.frame_batch if family_named(family).FRAMEWISE else None
    return FamilyNetwork(family, unet, frame_batch, compiling)


def _load(family: str, components: Components, compiling: bool | str, told: Told) -> nn.Module:
    unet = adapted(family_named(family).load(components), UNET, components.loras)
    arranged = arranged_unet(with_text_memory(unet), components.device)
    frames = 0 if family_named(family).FRAMEWISE else 2
    return compiled(arranged, compiling, frames, f"the {components.role} expert", told)
