"""LaVie's checkpoint: one file with the whole UNet, published as a pickle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from confiner_cli.errors import ConfinerError, is_disk_full
from confiner_cli.experts.empty import without_parameters
from confiner_cli.experts.networks.lavie import LaVieUNet
from confiner_cli.weights.tensors import fill, read_tensors, refuse_existing, write_tensors

KIND = "LaVie UNet"


def load_unet(path: Path) -> LaVieUNet:
    """The UNet of a checkpoint, on the CPU, in the file's own precision.

    The architecture is the published one, unless a `config.json` beside the file (the keys of a
    diffusers UNet config) says otherwise.

    Raises:
        ConfinerError: the file cannot be read, or is no LaVie UNet: tensors are missing, unknown,
            or of other shapes.
    """
    unet = empty_unet(path)
    fill(unet, read_tensors(path), path, KIND)
    return unet


def empty_unet(path: Path) -> LaVieUNet:
    """The UNet of a checkpoint without its weights, on the meta device.

    Raises:
        ConfinerError: the config beside it is not one of this UNet.
    """
    try:
        with without_parameters():
            return LaVieUNet(**config_beside(path))
    except (ValueError, TypeError) as error:
        place = path.with_name("config.json")
        raise ConfinerError(
            f"{place} is no config of LaVie's UNet: {error}", f"mend or remove {place}"
        ) from error


def config_beside(path: Path) -> dict[str, Any]:
    """The config beside a checkpoint, where there is one of LaVie's UNet, else an empty one.

    Raises:
        ConfinerError: it is no JSON.
    """
    place = path.with_name("config.json")
    try:
        config = json.loads(place.read_text(encoding="utf-8")) if place.is_file() else {}
    except ValueError as error:
        raise ConfinerError(f"{place} is no JSON", f"mend or remove {place}") from error
    ours = (
        config.get("_class_name", LaVieUNet.__name__) == LaVieUNet.__name__
        and "block_out_channels" in config
    )
    return dict(config) if ours else {}


def convert(source: Path, target: Path) -> None:
    """Write a checkpoint as safetensors, whole or not at all.

    That is read faster, and by anyone without fear.

    Raises:
        ConfinerError: see `load_unet`; or there is a file at `target`, or no room for it.
    """
    refuse_existing(target)
    try:
        write_tensors(load_unet(source).state_dict(), target)
    except (OSError, SafetensorError) as error:
        if not is_disk_full(error):
            raise
        raise ConfinerError(
            f"no room left on the disk for {target}: it takes as much as {source.name}",
            f"free some space in {target.parent}, or convert a copy of {source.name} on another "
            "disk",
        ) from error
