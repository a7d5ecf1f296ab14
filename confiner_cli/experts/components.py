"""The parts of an expert on disk: networks in folders of diffusers' layout or in single files, each loaded once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from safetensors import SafetensorError
from torch import Tensor

from confiner_cli.errors import ConfinerError, first_line
from confiner_cli.experts import single_file
from confiner_cli.weights.select import choice, read_header, weight_files

Module = TypeVar("Module", bound=torch.nn.Module)
Configs = Mapping[str, Mapping[str, Any]]
"""diffusers' configs of networks, by the name of the part."""
ARCHITECTURES = Path(__file__).resolve().parent / "architectures"
COMMON = "sd15"
"""The architecture that has what another one does not have of its own."""
OBSOLETE = "position_ids"
"""What published text encoders have and today's do not."""
BROKEN = (OSError, ValueError, RuntimeError, KeyError, SafetensorError)


class Network(Protocol):
    """An expert's network in the one layout that all families share."""

    def __call__(self, x_t: Tensor, t: float, text: Tensor) -> Tensor:
        """Predict, in the shape of `x_t`, `(batch, channel, frame, height, width)`."""


@dataclass(frozen=True)
class Parts:
    """Where the parts of one expert lie, and where they go.

    Attributes:
        role: `control`, `spatial` or `temporal`, for messages.
        folders: searched in order for a part's subfolder; the first may be a single file.
        named: parts that lie elsewhere, as pairs of a part's name and its own folder or file.
        device: where networks live.
        dtype: what they compute in.
        architecture: the folder of `architectures/` that says what a single file holds.
        pickles: whether weights may be pickles where there is nothing else.
        loras: adapters for the UNet and the text encoder, with their scales.
    """

    role: str
    folders: tuple[Path, ...]
    device: torch.device
    dtype: torch.dtype
    named: tuple[tuple[str, Path], ...] = ()
    architecture: str = COMMON
    pickles: bool = False
    loras: tuple[tuple[Path, float], ...] = ()

    def place(self, name: str) -> Path:
        """The folder of the part `name`, such as `unet`, or the single file that holds it.

        Raises:
            ConfinerError: there is none, or the file is damaged.
        """
        candidates = [path for part, path in self.named if part == name]
        candidates += [path if path.is_file() else path / name for path in self.folders]
        for path in candidates:
            if path.is_dir() or (
                path.is_file() and (path in dict(self.named).values() or self._has(path, name))
            ):
                return path
        raise ConfinerError(
            f"the {self.role} expert has no {name}: looked for {' and '.join(map(str, candidates))}",
            f"experts.{self.role}.model= takes a folder in diffusers' layout with {name}/ inside, or a .safetensors "
            f"file; what a file has not comes from experts.{self.role}.shared=",
        )

    def folder(self, name: str) -> Path:
        """The folder of a part that cannot be a file. Raises ConfinerError where there is none."""
        path = self.place(name)
        if path.is_dir():
            return path
        raise ConfinerError(
            f"the {self.role} expert's {name} is no folder: {path}", "name the folder that has it"
        )

    def checkpoint(self, name: str) -> Path:
        """A file that holds a whole network: the model where it is a file, else `name` in one of the folders.

        A `.safetensors` beside a `.pt` is preferred. Raises ConfinerError where there is none.
        """
        given = [path if path.is_file() else path / f"{name}.pt" for path in self.folders]
        candidates = [
            path for one in given for path in dict.fromkeys((one.with_suffix(".safetensors"), one))
        ]
        for path in candidates:
            if path.is_file():
                return path
        raise ConfinerError(
            f"the {self.role} expert has no checkpoint: looked for {' and '.join(map(str, candidates))}",
            f"experts.{self.role}.model= takes the file, or the folder with {name}.pt or {name}.safetensors in it",
        )

    def files(self, name: str) -> tuple[Path, ...]:
        """The weight files of the part `name`, each of which begins and ends as it should.

        Raises:
            ConfinerError: there is no such part, no weights in it, or a file is cut or something else.
        """
        path = self.place(name)
        found = (path,) if path.is_file() else weight_files(path, self.pickles)
        if not found:
            raise self._broken(
                name, path, "it has no safetensors weights, or not all of their files"
            )
        for file in found:
            self.checked(name, file)
        return found

    def checked(self, name: str, file: Path) -> Path:
        """The file, where it is no safetensors file or a whole one. Raises ConfinerError."""
        try:
            if file.suffix == ".safetensors":
                read_header(file)
        except (OSError, ValueError) as error:
            raise self._broken(name, file, str(error)) from error
        return file

    def config(self, name: str) -> dict[str, Any]:
        """The config of the part `name`: that of its folder, or its architecture's where it is in a file."""
        place = self.place(name)
        path = (place if place.is_dir() else self._config_folder(name)) / "config.json"
        try:
            return dict(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise self._broken(name, place, f"{path.name} cannot be read") from error

    def model(self, name: str, kind: type[Module]) -> Module:
        """Load the part `name` as a frozen diffusers or transformers model (safetensors only), straight to its device.

        Raises:
            ConfinerError: see `files`; or tensors are missing, or have other shapes.
        """
        place = self.place(name)
        try:
            if place.is_file():
                module = single_file.load(
                    place, kind, self.device, self.dtype, self._config_folder(name)
                )
            else:
                module = _from_folder(place, kind, self.device, self.dtype, self.pickles)
        except torch.OutOfMemoryError:
            raise
        except BROKEN as error:
            raise self._broken(name, place, first_line(error), kind.__name__) from error
        loaded: Module = module.eval().requires_grad_(False)
        return loaded

    def _has(self, file: Path, name: str) -> bool:
        try:
            return single_file.has(file, name)
        except (OSError, ValueError) as error:
            raise self._broken(name, file, str(error)) from error

    def _config_folder(self, name: str) -> Path:
        """What a part in a single file is: as the same part beside it, else as its architecture's."""
        beside = (
            folder / name for folder in self.folders if (folder / name / "config.json").is_file()
        )
        return next(beside, architecture(self.architecture, name))

    def _broken(self, name: str, place: Path, reason: str, kind: str = "model") -> ConfinerError:
        return ConfinerError(
            f"the {self.role} expert's {name} in {place} cannot be loaded: {reason}",
            f"it needs a config.json and safetensors weights of a {kind}; remove a damaged file and it is fetched again"
            if "snapshots" in place.parts
            else f"the folder needs a config.json and safetensors weights of a {kind}",
        )


def architecture(name: str, part: str) -> Path:
    """The folder of a published network's config.json: the architecture's own, else Stable Diffusion 1.5's."""
    own = ARCHITECTURES / name / part
    return own if own.is_dir() else ARCHITECTURES / COMMON / part


def _from_folder(
    folder: Path, kind: Any, device: torch.device, dtype: torch.dtype, pickles: bool
) -> Any:
    chosen = choice({path.name for path in folder.iterdir()}, pickles)
    if chosen is None:
        raise ValueError("it has no safetensors weights, or not all of their files")
    module, info = kind.from_pretrained(
        folder, torch_dtype=dtype, variant=chosen[0], local_files_only=True,
        use_safetensors=not chosen[1][0].endswith(".bin"), device_map={"": str(device)}, output_loading_info=True,
    )  # fmt: skip
    if missing := sorted(info["missing_keys"]):  # they would be left at random values
        raise ValueError(f"the weights lack {len(missing)} tensors, {missing[0]} for one")
    if unknown := sorted(key for key in info["unexpected_keys"] if not key.endswith(OBSOLETE)):
        raise ValueError(f"the weights have {len(unknown)} unknown tensors, {unknown[0]} for one")
    return module
