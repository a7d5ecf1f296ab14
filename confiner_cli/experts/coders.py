"""The decoder and the encoder of an expert set's VAE, whichever class it is of."""

from __future__ import annotations

from confiner_cli.experts.components import Components
from confiner_cli.experts.offload import NetworkCache, OffloadPolicy
from confiner_cli.experts.picture_vae import PictureDecoder, PictureEncoder, picture_coder
from confiner_cli.experts.stated_vae import codes_videos
from confiner_cli.experts.vae import Decoder, Encoder
from confiner_cli.experts.video_vae import VideoDecoder, VideoEncoder, video_coder


def decoder_of(
    components: Components,
    policy: OffloadPolicy,
    cache: NetworkCache,
    compiling: bool | str = False,
) -> Decoder:
    """The decoder that `components` have; with their encoder, a cache loads one network.

    Raises:
        ConfinerError: there is no VAE, its files are damaged, or its config says something that is
            not honoured.
    """
    if codes_videos(components):
        return video_coder(VideoDecoder, components, policy, cache)
    return picture_coder(PictureDecoder, components, policy, cache, compiling)


def encoder_of(
    components: Components,
    policy: OffloadPolicy,
    cache: NetworkCache,
    compiling: bool | str = False,
) -> Encoder:
    """The other direction of `decoder_of`'s VAE. Raises as it does."""
    if codes_videos(components):
        return video_coder(VideoEncoder, components, policy, cache)
    return picture_coder(PictureEncoder, components, policy, cache, compiling)
