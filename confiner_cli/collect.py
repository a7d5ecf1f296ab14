"""What is kept of streams as they pass: latents for a file, a few frames for the contact sheet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from confiner_cli.contact_sheet import columns
from confiner_cli.video import temporary_beside


@dataclass
class KeptLatents:
    """Latents that are kept for latents.safetensors, if that is wanted."""

    wanted: bool
    tensors: dict[str, list[Tensor]] = field(default_factory=dict)

    def pass_on(self, name: str, parts: Iterable[Tensor]) -> Iterator[Tensor]:
        """Pass latents on and keep them."""
        for part in parts:
            if self.wanted:
                self.tensors.setdefault(name, []).append(part)
            yield part

    def write(self, path: Path) -> None:
        """Write all that was kept, each joined along the frames, float32."""
        joined = {name: torch.cat(parts, dim=2).float().contiguous() for name, parts in self.tensors.items()}
        with temporary_beside(path) as temporary:
            save_file(joined, temporary)


@dataclass
class ShownFrames:
    """Frames that are kept for the contact sheet: a few, whatever the video's length."""

    num_frames: int
    rows: dict[str, list[Tensor]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def pass_on(self, name: str, frames: Iterable[Tensor]) -> Iterator[Tensor]:
        """Pass frames on and keep those that the sheet has a column for."""
        wanted = columns(self.num_frames)
        for frame in frames:
            number = self.counts.get(name, 0)
            self.counts[name] = number + 1
            if number in wanted:
                self.rows.setdefault(name, []).append(frame)
            yield frame
