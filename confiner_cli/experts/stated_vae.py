"""What a VAE's config says, held against what coders do with it: nothing it says is passed over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from confiner_cli.errors import ConfinerError
from confiner_cli.experts.components import Components

PICTURES = "AutoencoderKL"
"""The class that codes each frame alone."""
VIDEOS = ("AutoencoderKLWan", "AutoencoderKLQwenImage")
"""The classes that code frames together; tensor by tensor they are one network."""
COLOURS = 3
DEFAULTS: Mapping[str, Any] = MappingProxyType({
    "z_dim": 16,
    "dim_mult": (1, 2, 4, 4),
    "temperal_downsample": (False, True, True),
    "patch_size": None,
    "in_channels": COLOURS,
    "out_channels": COLOURS,
    "input_channels": COLOURS,
    "scale_factor_spatial": 8,
    "scale_factor_temporal": 4,
})  # fmt: skip
"""What diffusers takes where a config of `VIDEOS` does not say it."""
BUILT = ("attn_scales", "base_dim", "decoder_base_dim", "is_residual", "num_res_blocks")
"""What diffusers builds the network by, and nobody else has to know."""
MOMENTS = ("latents_mean", "latents_std")
HARMLESS = ("clip_output", "dropout")
"""Frames are clipped in any case; dropout is of training."""


def codes_videos(components: Components) -> bool:
    """Whether a VAE codes frames together, by the class that its config names.

    Raises:
        ConfinerError: there is no VAE, or one of a class that is not known here.
    """
    kind = components.config("vae").get("_class_name", PICTURES)
    if kind not in (PICTURES, *VIDEOS):
        raise _refused(components, f"_class_name={kind}, which is not honoured")
    return kind in VIDEOS


def check_picture_vae(components: Components) -> None:
    """Refuse an AutoencoderKL whose latents are scaled in another way than by one factor.

    Raises:
        ConfinerError: its config says so.
    """
    config = components.config("vae")
    for key in ("shift_factor", *MOMENTS):
        if config.get(key):
            raise _refused(components, f"{key}={config[key]}, which is not honoured")


def check_video_vae(components: Components) -> None:
    """Refuse one of `VIDEOS` with fields that are not known, or with facts that are not so.

    Raises:
        ConfinerError: its config has them.
    """
    config = components.config("vae")
    known = {*DEFAULTS, *BUILT, *MOMENTS, *HARMLESS}
    for name, value in config.items():
        if value and name not in known and not name.startswith("_"):
            raise _refused(components, f"{name}={value}, which is not honoured")
    stated = {**DEFAULTS, **config}
    for name in MOMENTS:
        count = len(stated.get(name) or ())
        if count != stated["z_dim"]:
            raise _refused(components, f"z_dim={stated['z_dim']} and {count} numbers of {name}")
    for name, true in _facts(stated):
        if stated[name] != true:
            raise _refused(components, f"{name}={stated[name]}, and by its layers it is {true}")


def _facts(stated: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """What follows from the layers that a config states."""
    patch = stated["patch_size"] or 1
    yield "scale_factor_spatial", patch * 2 ** (len(stated["dim_mult"]) - 1)
    yield "scale_factor_temporal", 2 ** sum(stated["temperal_downsample"])
    yield "in_channels", COLOURS * patch**2
    yield "out_channels", COLOURS * patch**2
    yield "input_channels", COLOURS


def _refused(components: Components, what: str) -> ConfinerError:
    return ConfinerError(
        f"the VAE in {components.place('vae')} states {what}",
        f"experts.{components.role}.shared= names a place with the VAE of the experts' latents: an "
        f"{PICTURES} or an {VIDEOS[0]}, as diffusers saves it",
    )
