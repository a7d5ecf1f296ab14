"""An expert's components on disk: networks in folders of diffusers' layout or in single files."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError

from confiner_cli.errors import ConfinerError, first_line, is_ram_full, no_ram_for
from confiner_cli.experts.empty import without_parameters
from confiner_cli.experts.lora_file import files_of_lora
from confiner_cli.experts.pretrained import NO_WEIGHTS, from_folder, from_single_file
from confiner_cli.weights import single_file
from confiner_cli.weights.identity import content_hash
from confiner_cli.weights.select import read_header, weight_files

Module = TypeVar("Module", bound=torch.nn.Module)
Files = Mapping[str, tuple[Path, ...]]
"""Files by the name of the component."""
Configs = Mapping[str, Mapping[str, Any]]
"""diffusers' configs of networks, by the name of the component."""
ARCHITECTURES = Path(__file__).resolve().parent / "architectures"
COMPANIONS = ("text_encoder", "tokenizer", "vae")
"""What may come from the shared place; the role's network comes from the model's alone."""
UNET, TRANSFORMER = r"UNet.*", r".*Transformer\dDModel"
NETWORKS = MappingProxyType(
    {"unet": UNET, "transformer": TRANSFORMER, "transformer_2": TRANSFORMER}
)
"""Components that may be the model's place themselves, with what diffusers calls their classes."""
READABLE = (".json", ".txt")
"""What a tokenizer's files end with."""
COMMON = "sd15"
"""The architecture that has what another one does not have of its own."""
BROKEN = (OSError, ValueError, RuntimeError, KeyError, SafetensorError)
"""What the libraries raise where files are not what they should be."""


@dataclass(frozen=True)
class Components:
    """Where the components of one expert lie, and where they go.

    Attributes:
        role: `control`, `spatial` or `temporal`, for messages.
        folders: the model's place, which has to bring the role's network, then the shared one, in
            which its companions are searched, too. Any may be a single file.
        device: where networks live.
        dtype: what they compute in.
        named: components that lie elsewhere: pairs of a name and its own folder or file.
        network: which component the role's network is.
        architecture: the folder of `architectures/` that says what a single file holds.
        pickles: whether weights may be pickles where there is nothing else.
        loras: adapters for the UNet and the text encoder, with their scales.
    """

    role: str
    folders: tuple[Path, ...]
    device: torch.device
    dtype: torch.dtype
    named: tuple[tuple[str, Path], ...] = ()
    network: str = "unet"
    architecture: str = COMMON
    pickles: bool = False
    loras: tuple[tuple[Path, float], ...] = ()

    def place(self, name: str) -> Path:
        """The folder of the component `name`, such as `unet`, or the single file that holds it.

        It has the name that it has in a pipeline folder: `transformer_2` is the one for low noise
        where there are two.

        Raises:
            ConfinerError: there is none, or the file is damaged.
        """
        own = [path for component, path in self.named if component == name]
        for path in own:
            if path.exists():
                return path
        folders = self.folders if name in COMPANIONS else self.folders[:1]
        for folder in folders:
            found = self._inside(folder, name)
            if found:
                return found
        if name not in COMPANIONS and not own:
            raise self._no_network(name)
        looked = " and ".join(map(str, (*own, *folders)))
        raise ConfinerError(
            f"the {self.role} expert has no {name}: looked in {looked}",
            f"experts.{self.role}.shared= names a folder in diffusers' layout with {name}/ inside",
        )

    def _inside(self, folder: Path, name: str) -> Path | None:
        """Where a model's place has a component; None where it has not."""
        if folder.is_file():
            return folder if self._has(folder, name) else None
        if (folder / name).is_dir():
            return folder / name
        return folder if is_network_folder(folder, name) else None

    def _no_network(self, name: str) -> ConfinerError:
        """What to say where the model's place does not bring the role's network."""
        model, key = self.folders[0], f"experts.{self.role}"
        in_file = ", or a file that holds it" if name in single_file.PREFIXES else ""
        hint = (
            f"{key}.model= takes a folder in diffusers' layout with {name}/ in it, that {name}/ "
            f"itself{in_file}; {key}.shared= brings only what goes with it"
        )
        if model.is_dir():
            return ConfinerError(
                f"the {self.role} expert has no {name}: there is no {name}/ in {model}", hint
            )
        kind = single_file.described(single_file.names_in(model))
        if kind == single_file.LORA:
            hint = f"{key}.loras=[{{path: {model}}}], and {key}.model= for what it is merged into"
        only = "" if in_file else ", and it is read from a folder only"
        return ConfinerError(
            f"the {self.role} expert has no {name}: {model} holds {kind}{only}", hint
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
        model = self.folders[0]
        path = model if model.is_file() else model / f"{name}.pt"
        candidates = list(dict.fromkeys((path.with_suffix(".safetensors"), path)))
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
            raise self._no_weights(name, place)
        for file in files:
            self.checked(name, file)
        return files

    def sources(self, name: str) -> tuple[Path, ...]:
        """All files that decide the component `name`: its weights, then its config.

        Raises: as `files`.
        """
        place = self.place(name)
        if name == "tokenizer":
            return tuple(sorted(path for path in place.iterdir() if path.suffix in READABLE))
        stated = place.is_dir() or name in single_file.PREFIXES
        config = self.config_file(name) if stated else place.with_name("config.json")
        return (*self.files(name), *((config,) if config.is_file() else ()))

    def identity(self, files: Iterable[Path]) -> tuple[Hashable, ...]:
        """What a network of these files is known by: what is in them and in its adapters."""
        adapters = [(content_hash(file), scale) for file, scale in self._files_of_loras()]
        contents = [content_hash(file) for file in files]
        return (*contents, *adapters, str(self.device), self.dtype)

    def _files_of_loras(self) -> Iterator[tuple[Path, float]]:
        for path, scale in self.loras:
            for file in files_of_lora(path):
                yield file, scale

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

    def config_file(self, name: str) -> Path:
        """Says what the component `name` is: its folder's, or its architecture's where it is in a
        file.

        Raises:
            ConfinerError: there is no such component.
        """
        place = self.place(name)
        return (place if place.is_dir() else self._config_folder(name)) / "config.json"

    def config(self, name: str) -> dict[str, Any]:
        """The content of `config_file`.

        Raises:
            ConfinerError: there is no such component, or its config cannot be read.
        """
        try:
            return dict(json.loads(self.config_file(name).read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            place = self.place(name)
            raise self._broken(name, place, "config.json cannot be read") from error

    def model(self, name: str, kind: type[Module], allowed: Collection[str] = ()) -> Module:
        r"""Load the component `name`, frozen, straight to its device.

        What it computes in is `dtype`, but for what its class keeps in float32.

        Args:
            name: `unet`, `transformer`, `vae`, `text_encoder`, ...
            kind: its class, diffusers' or ours, which has `from_config`.
            allowed: what its folder may have beside the network's tensors, such as
                `r"blocks\.\d+\.to_gate_compress\.(weight|bias)"`: regular expressions, each of a
                whole name. It is not read. All else that is unknown is refused.

        Raises:
            ConfinerError: see `files`; or tensors are missing, unknown, or have other shapes.
        """
        place = self.place(name)
        try:
            module: Module = self._read(name, place, kind, allowed)
        except (ConfinerError, torch.OutOfMemoryError):
            raise  # it has been named, or is a RuntimeError, too, but not the file's fault
        except (*BROKEN, MemoryError) as error:
            if is_ram_full(error):
                raise no_ram_for(f"the {self.role} expert's {name}") from error
            raise self._broken(name, place, first_line(error), kind.__name__) from error
        return module.eval().requires_grad_(False)

    def _read(self, name: str, place: Path, kind: type[Module], allowed: Collection[str]) -> Any:
        if place.is_file():
            config = self._config_folder(name)
            return from_single_file(place, name, kind, self.device, self.dtype, config)
        return from_folder(place, kind, self.device, self.dtype, self.pickles, allowed)

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

    def _no_weights(self, name: str, place: Path) -> ConfinerError:
        if weight_files(place, pickles=True):
            return ConfinerError(
                f"the {self.role} expert's {name} in {place} has pickled weights (.bin) only",
                f"experts.{self.role}.pickles=true takes them, and runs nothing that is in them",
            )
        return self._broken(name, place, NO_WEIGHTS)

    def _broken(self, name: str, place: Path, reason: str, kind: str = "model") -> ConfinerError:
        needs = f"needs a config.json and safetensors weights of a {kind}"
        hint = f"the folder {needs}"
        if "snapshots" in place.parts:  # of the hub's cache
            hint = f"it {needs}; remove a damaged file and it is fetched again"
        return ConfinerError(
            f"the {self.role} expert's {name} in {place} cannot be loaded: {reason}", hint
        )


def without_weights(
    build: Callable[[Configs], torch.nn.Module], components: Components, *names: str
) -> torch.nn.Module:
    """What a family builds of these components' configs, on the meta device.

    Raises:
        ConfinerError: a component is missing, or its config cannot be read.
    """
    with without_parameters():
        return build({name: components.config(name) for name in names})


def is_network_folder(folder: Path, name: str) -> bool:
    """Whether a folder is that of a component of `NETWORKS`, as its own config says."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    kind = config.get("_class_name", "") if isinstance(config, dict) else ""
    return name in NETWORKS and re.fullmatch(NETWORKS[name], str(kind)) is not None


def architecture(name: str, component: str) -> Path:
    """The folder of a published network's config.json.

    The architecture's own, else Stable Diffusion 1.5's.
    """
    own = ARCHITECTURES / name / component
    return own if own.is_dir() else ARCHITECTURES / COMMON / component
