"""An expert's components on disk: networks in folders of diffusers' layout or in single files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError

from confiner_cli.errors import ConfinerError, first_line, is_ram_full, no_ram_for
from confiner_cli.experts.pretrained import from_folder, from_single_file
from confiner_cli.weights import single_file
from confiner_cli.weights.select import read_header, weight_files

Module = TypeVar("Module", bound=torch.nn.Module)
Configs = Mapping[str, Mapping[str, Any]]
"""diffusers' configs of networks, by the name of the component."""
ARCHITECTURES = Path(__file__).resolve().parent / "architectures"
COMMON = "sd15"
"""The architecture that has what another one does not have of its own."""
BROKEN = (OSError, ValueError, RuntimeError, KeyError, SafetensorError)
"""What the libraries raise where files are not what they should be."""


@dataclass(frozen=True)
class Components:
    """Where the components of one expert lie, and where they go.

    Attributes:
        role: `control`, `spatial` or `temporal`, for messages.
        folders: searched in order for a component's subfolder; any may be a single file.
        device: where networks live.
        dtype: what they compute in.
        named: components that lie elsewhere: pairs of a name and its own folder or file.
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
        """The folder of the component `name`, such as `unet`, or the single file that holds it.

        Raises:
            ConfinerError: there is none, or the file is damaged.
        """
        own = [path for component, path in self.named if component == name]
        for path in own:
            if path.exists():
                return path
        inside = [path if path.is_file() else path / name for path in self.folders]
        for path in inside:
            if path.is_dir() or (path.is_file() and self._has(path, name)):
                return path
        looked = " and ".join(str(path) for path in (*own, *inside))
        raise ConfinerError(
            f"the {self.role} expert has no {name}: looked for {looked}",
            f"experts.{self.role}.model= takes a folder in diffusers' layout with {name}/ inside, "
            f"or a .safetensors file; what a file has not comes from experts.{self.role}.shared=",
        )

    def folder(self, name: str) -> Path:
        """The folder of a component that cannot be a file.

        Raises:
            ConfinerError: there is none.
        """
        path = self.place(name)
        if path.is_dir():
            return path
        raise ConfinerError(
            f"the {self.role} expert's {name} is no folder: {path}", "name the folder that has it"
        )

    def checkpoint(self, name: str) -> Path:
        """A file that holds a whole network: the model where it is a file, else in a folder.

        A `.safetensors` beside a `.pt` is preferred.

        Raises:
            ConfinerError: there is none.
        """
        candidates: list[Path] = []
        for folder in self.folders:
            path = folder if folder.is_file() else folder / f"{name}.pt"
            candidates += dict.fromkeys((path.with_suffix(".safetensors"), path))
        for path in candidates:
            if path.is_file():
                return path
        looked = " and ".join(map(str, candidates))
        raise ConfinerError(
            f"the {self.role} expert has no checkpoint: looked for {looked}",
            f"experts.{self.role}.model= takes the file, or the folder with {name}.pt or "
            f"{name}.safetensors in it",
        )

    def files(self, name: str) -> tuple[Path, ...]:
        """The weight files of the component `name`, each of which begins and ends as it should.

        Raises:
            ConfinerError: there is no such component, no weights in it, or a file is cut or
                something else.
        """
        place = self.place(name)
        files = (place,) if place.is_file() else weight_files(place, self.pickles)
        if not files:
            reason = "it has no safetensors weights, or not all of their files"
            raise self._broken(name, place, reason)
        for file in files:
            self.checked(name, file)
        return files

    def checked(self, name: str, file: Path) -> Path:
        """The file, which is a whole one if it is a safetensors file.

        Raises:
            ConfinerError: it is cut, or something else.
        """
        try:
            if file.suffix == ".safetensors":
                read_header(file)
        except (OSError, ValueError) as error:
            if is_ram_full(error):
                raise no_ram_for(f"the {self.role} expert's {name}") from error
            raise self._broken(name, file, str(error)) from error
        return file

    def config(self, name: str) -> dict[str, Any]:
        """The config of the component `name`: its folder's, or its architecture's where it is in a
        file.

        Raises:
            ConfinerError: there is no such component, or its config cannot be read.
        """
        place = self.place(name)
        folder = place if place.is_dir() else self._config_folder(name)
        try:
            return dict(json.loads((folder / "config.json").read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise self._broken(name, place, "config.json cannot be read") from error

    def model(self, name: str, kind: type[Module]) -> Module:
        """Load the component `name`, frozen, straight to its device.

        Args:
            name: `unet`, `vae`, `text_encoder`, ...
            kind: its class, diffusers' or transformers'.

        Raises:
            ConfinerError: see `files`; or tensors are missing, or have other shapes.
        """
        place = self.place(name)
        try:
            module: Module = self._read(name, place, kind)
        except torch.OutOfMemoryError:
            raise  # a RuntimeError, too, but not the file's fault
        except (*BROKEN, MemoryError) as error:
            if is_ram_full(error):
                raise no_ram_for(f"the {self.role} expert's {name}") from error
            raise self._broken(name, place, first_line(error), kind.__name__) from error
        return module.eval().requires_grad_(False)

    def _read(self, name: str, place: Path, kind: type[Module]) -> Any:
        if place.is_file():
            config = self._config_folder(name)
            return from_single_file(place, kind, self.device, self.dtype, config)
        return from_folder(place, kind, self.device, self.dtype, self.pickles)

    def _has(self, file: Path, name: str) -> bool:
        try:
            return single_file.has(file, name)
        except (OSError, ValueError) as error:
            raise self._broken(name, file, str(error)) from error

    def _config_folder(self, name: str) -> Path:
        """Says what a component in a file is: a folder beside it, else its architecture's."""
        for folder in self.folders:
            if (folder / name / "config.json").is_file():
                return folder / name
        return architecture(self.architecture, name)

    def _broken(self, name: str, place: Path, reason: str, kind: str = "model") -> ConfinerError:
        needs = f"needs a config.json and safetensors weights of a {kind}"
        hint = f"the folder {needs}"
        if "snapshots" in place.parts:  # of the hub's cache
            hint = f"it {needs}; remove a damaged file and it is fetched again"
        return ConfinerError(
            f"the {self.role} expert's {name} in {place} cannot be loaded: {reason}", hint
        )


def architecture(name: str, component: str) -> Path:
    """The folder of a published network's config.json.

    The architecture's own, else Stable Diffusion 1.5's.
    """
    own = ARCHITECTURES / name / component
    return own if own.is_dir() else ARCHITECTURES / COMMON / component
