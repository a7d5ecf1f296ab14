"""Cheap decoders in the VAE's place, for drafts that are only looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from confiner_cli.errors import ConfinerError
from confiner_cli.experts.components import Components
from confiner_cli.experts.offload import Handle, NetworkCache, OffloadPolicy
from confiner_cli.experts.picture_vae import PictureDecoder
from confiner_cli.experts.vae import Decoder

PREVIEW = "preview"
"""The name of the component, and of the role that it has on a device."""
LATENT, TINY = "LatentPreview", "AutoencoderTiny"


def preview_decoder(
    components: Components, decoder: Decoder, policy: OffloadPolicy, cache: NetworkCache
) -> Decoder:
    """A decoder that makes frames of the same size of the same latents.

    Args:
        components: of the spatial expert, which names it.
        decoder: the VAE's, whose place it takes.
        policy: who makes room for whom on the device.
        cache: owns the network.

    Raises:
        ConfinerError: it is missing or damaged, no decoder that is known here, or one of other
            latents.
    """
    components.folder(PREVIEW)
    config = components.config(PREVIEW)
    kind = config.get("_class_name", TINY)
    if kind not in (LATENT, TINY):
        raise _unfit(components, f"holds a {kind}, which is no preview decoder")
    if decoder.time_factor > 1:
        raise _unfit(components, f"makes 1 frame of a latent, the VAE {decoder.time_factor}")
    channels = config.get("latent_channels", 4)
    if (channels, _factor(config)) != (decoder.channels, decoder.factor):
        raise _unfit(
            components,
            f"makes {_factor(config)} pixels of a latent with {channels} channels, the VAE "
            f"{decoder.factor} of one with {decoder.channels}",
        )
    if config.get("shift_factor"):
        shift = config["shift_factor"]
        raise _unfit(components, f"states shift_factor={shift}, which is not honoured")
    own = replace(components, loras=())  # they change nothing of it
    key = (PREVIEW, own.identity(own.sources(PREVIEW)))
    load = partial(_load, own, kind)
    return PictureDecoder(
        vae=Handle(key, PREVIEW, own.device, policy, cache, load),
        factor=decoder.factor,
        channels=channels,
        scaling_factor=config.get("scaling_factor", 1.0),
        batch=policy.decode_batch,
    )


def _factor(config: Mapping[str, Any]) -> int:
    """Pixels of a side per latent."""
    if "factor" in config:
        return int(config["factor"])
    blocks = config.get("num_decoder_blocks", (3, 3, 3, 1))
    doublings: int = config.get("upsampling_scaling_factor", 2) ** (len(blocks) - 1)
    return doublings


def _load(components: Components, kind: str) -> Any:
    # Imported where one is used: most runs use none.
    if kind == LATENT:
        from confiner_cli.experts.networks.latent_preview import LatentPreview

        return components.model(PREVIEW, LatentPreview)
    from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny

    return components.model(PREVIEW, AutoencoderTiny)


def _unfit(components: Components, why: str) -> ConfinerError:
    return ConfinerError(
        f"the preview decoder in {components.place(PREVIEW)} {why}",
        "experts.spatial.preview= names a folder with an AutoencoderTiny for the experts' latents; "
        "or output.structure=full",
    )
