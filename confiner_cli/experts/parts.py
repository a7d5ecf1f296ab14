"""The parts of an expert on disk: networks in a folder of diffusers' layout, each loaded to one device and dtype."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from safetensors import SafetensorError
from torch import Tensor

from confiner_cli.errors import ConfinerError

Module = TypeVar("Module", bound=torch.nn.Module)
EMBEDDED = Path(__file__).resolve().parents[1] / "embedded"


class Network(Protocol):
    """An expert's network in the one layout that all families share."""

    def __call__(self, x_t: Tensor, t: int, text: Tensor) -> Tensor:
        """Predict, in the shape of `x_t`, `(batch, channel, frame, height, width)`."""


@dataclass(frozen=True)
class Parts:
    """Where the parts of one expert lie, and where they go.

    Attributes:
        role: `control`, `spatial` or `temporal`, for messages.
        folders: searched in order for a part's subfolder; the first may be a checkpoint's file.
        named: parts that lie elsewhere, as pairs of a part's name and its own folder.
        device: where networks live.
        dtype: what they compute in.
    """

    role: str
    folders: tuple[Path, ...]
    device: torch.device
    dtype: torch.dtype
    named: tuple[tuple[str, Path], ...] = ()

    def folder(self, name: str) -> Path:
        """The folder of the part `name`, such as `unet`. Raises ConfinerError where there is none."""
        candidates = [folder for part, folder in self.named if part == name]
        candidates += [folder / name for folder in self.folders]
        for folder in candidates:
            if folder.is_dir():
                return folder
        raise ConfinerError(
            f"the {self.role} expert has no {name}: looked for {' and '.join(map(str, candidates))}",
            f"experts.{self.role}.model= takes a folder in diffusers' layout, with {name}/ inside",
        )

    def checkpoint(self, name: str) -> Path:
        """A file that holds a whole network: the model where it is a file, else `name` in one of the folders.

        A `.safetensors` beside a `.pt` is preferred. Raises ConfinerError where there is none.
        """
        given = [source if source.is_file() else source / f"{name}.pt" for source in self.folders]
        candidates = [path for one in given for path in dict.fromkeys((one.with_suffix(".safetensors"), one))]
        for path in candidates:
            if path.is_file():
                return path
        raise ConfinerError(
            f"the {self.role} expert has no checkpoint: looked for {' and '.join(map(str, candidates))}",
            f"experts.{self.role}.model= takes the file, or the folder with {name}.pt or {name}.safetensors in it",
        )

    def model(self, name: str, kind: type[Module]) -> Module:
        """Load the part `name` as a frozen diffusers or transformers model (safetensors only)."""
        folder = self.folder(name)
        try:
            loader: Any = kind
            module, info = loader.from_pretrained(
                folder, torch_dtype=self.dtype, local_files_only=True, use_safetensors=True, output_loading_info=True
            )
            if missing := sorted(info["missing_keys"]):  # they would be left at random values
                raise ValueError(f"the weights lack {len(missing)} tensors, {missing[0]} for one")
        except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise ConfinerError(
                f"the {self.role} expert's {name} in {folder} cannot be loaded: {reason}",
                f"the folder needs a config.json and safetensors weights of a {kind.__name__}",
            ) from error
        loaded: Module = module.to(self.device).eval().requires_grad_(False)
        return loaded


def resolve(model: str) -> Path:
    """The folder that `model` names: a path, or `embedded:NAME` for the experts that come with the package."""
    kind, _, name = model.partition(":")
    if kind == "embedded":
        return EMBEDDED / name
    return Path(model).expanduser()
