"""Each frame coded alone, by diffusers' `AutoencoderKL` or what decodes as it does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import TypeAlias, TypeVar, cast

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor, nn

from confiner_cli.experts.compiling import Told, compiled
from confiner_cli.experts.components import Components
from confiner_cli.experts.networks.arranged import arranged_vae
from confiner_cli.experts.networks.frame_parts import alike
from confiner_cli.experts.offload import Handle, NetworkCache, OffloadPolicy
from confiner_cli.experts.stated_vae import check_picture_vae
from confiner_cli.experts.vae import (
    Coder,
    Decoder,
    Encoder,
    Pixels,
    as_pixels,
    refuse_frames,
    refuse_latents,
)
from confiner_cli.method.transfer import onto

Coding: TypeAlias = Callable[[AutoencoderKL, Tensor], Tensor]
"""One direction of a VAE: a part as it takes it to a part as it gives it."""


@dataclass(frozen=True)
class PictureCoder(Coder):
    """What the two directions of a VAE of single frames have in common.

    Attributes:
        scaling_factor: what latents are multiplied by in the space that the UNets see.
    """

    scaling_factor: float

    def _parts(self, frames: Tensor) -> Sequence[Tensor]:
        return alike(frames, self.batch, dim=0)

    @torch.no_grad()
    def _coded(self, direction: Coding, part: Tensor) -> tuple[Tensor, Tensor]:
        """The part coded, in float32, and whether that is finite, `()`; both on the VAE's device.

        A GPU has yet to compute them.
        """
        with self.vae.computing() as module:
            vae = cast("AutoencoderKL", module)  # or what decodes as it does
            coded = direction(vae, part.to(vae.dtype)).float()
        return coded, torch.isfinite(coded).all()

    @torch.no_grad()
    def _coded_in_float32(self, direction: Coding, part: Tensor) -> Tensor | None:
        """The part coded in full precision; None where that is what failed, or fails too."""
        with self.vae.computing() as module:
            vae = cast("AutoencoderKL", module)
            if vae.dtype == torch.float32:
                return None
            with _widened(vae):
                coded = direction(vae, part.float())
        return coded if torch.isfinite(coded).all() else None


@contextmanager
def _widened(vae: AutoencoderKL) -> Iterator[None]:
    """In the body it computes in float32, where the precision that it has overflows."""
    narrow = vae.dtype
    try:
        # torch's own `to`: diffusers' warns of every change of precision.
        nn.Module.to(vae, torch.float32)
        yield
    finally:
        nn.Module.to(vae, narrow)


class PictureDecoder(PictureCoder, Decoder):
    """From latents to frames, `batch` at a time."""

    def _decoded(self, latents: Tensor) -> Iterator[Pixels]:
        latents = onto(latents[0], self.vae.device).transpose(0, 1)
        for part in self._parts(latents / self.scaling_factor):
            pixels, finite = self._coded(_decode, part)
            yield Pixels(pixels, finite, partial(self._again, part))

    def _again(self, part: Tensor) -> Tensor:
        pixels = self._coded_in_float32(_decode, part)
        return refuse_frames() if pixels is None else pixels


class PictureEncoder(PictureCoder, Encoder):
    """From frames to latents, `batch` at a time."""

    def _encoded(self, parts: Iterable[Tensor]) -> Tensor:
        pieces = list(chain.from_iterable(map(self._parts, parts)))
        coded = (self._coded(_encode, as_pixels(piece)) for piece in pieces)
        encoded, found = zip(*coded, strict=True)
        latents = list(encoded)
        # All at once: to read what a GPU has computed is to wait for it.
        for number, finite in enumerate(torch.stack(found).cpu().tolist()):
            if not finite:
                latents[number] = self._again(pieces[number])
        return torch.cat(latents).transpose(0, 1)[None] * self.scaling_factor

    def _again(self, piece: Tensor) -> Tensor:
        latents = self._coded_in_float32(_encode, as_pixels(piece))
        return refuse_latents() if latents is None else latents


def _load(components: Components, compiling: bool | str, told: Told) -> nn.Module:
    vae = components.model("vae", AutoencoderKL)
    arranged = arranged_vae(vae, components.device, components.dtype)
    # It repeats no block often, and compiled as a whole it gains nothing on a CPU.
    if compiling is True and components.device.type != "cpu":
        compiled(vae.decoder, compiling, 0, "the VAE's decoder", told)
    return arranged


def _decode(vae: AutoencoderKL, latents: Tensor) -> Tensor:
    pixels: Tensor = vae.decode(latents).sample
    return pixels


def _encode(vae: AutoencoderKL, pixels: Tensor) -> Tensor:
    latents: Tensor = vae.encode(pixels).latent_dist.mode()
    return latents


Direction = TypeVar("Direction", PictureDecoder, PictureEncoder)


def picture_coder(
    direction: type[Direction],
    components: Components,
    policy: OffloadPolicy,
    cache: NetworkCache,
    compiling: bool | str = False,
) -> Direction:
    """The decoder or the encoder of an AutoencoderKL; of both, a cache loads one network.

    Raises:
        ConfinerError: there is no VAE, its files are damaged, or see `check_picture_vae`.
    """
    check_picture_vae(components)
    config, device = components.config("vae"), components.device
    key = ("vae", components.identity(components.sources("vae")), compiling is True)
    load = partial(_load, components, compiling, cache.compile_seconds.append)
    return direction(
        vae=Handle(key, "vae", device, policy, cache, load),
        factor=2 ** (len(config["block_out_channels"]) - 1),
        channels=config.get("latent_channels", 4),
        batch=policy.decode_batch,
        scaling_factor=config.get("scaling_factor", 0.18215),
    )
