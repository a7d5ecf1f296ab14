"""Judge any video of the embedded experts' world: `python scripts/judge_video.py VIDEO...`, a line of JSON for each.

Says which shape, colour, background and motion it shows and how well it is drawn (`evaluation/`), whoever made it.
The middle square is taken and scaled to the 64 x 64 pixels that the judge knows.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import torch
from torch import Tensor

from evaluation.judge import judge
from evaluation.run import qualities
from world.render import SIZE

SQUARE = (
    f"crop='min(iw,ih)':'min(iw,ih)',scale={SIZE}:{SIZE}:flags=area+accurate_rnd+full_chroma_int"
)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("videos", nargs="+", type=Path, metavar="VIDEO")
    for path in parser.parse_args(arguments).videos:
        try:
            clip = frames(path)
        except ValueError as error:
            print(f"error: {path}: {error}", file=sys.stderr)
            print("hint: name a video file, such as a run's video.mp4", file=sys.stderr)
            return 2
        print(json.dumps({"video": str(path), **judged(clip)}), flush=True)
    return 0


def judged(clip: Tensor) -> dict[str, Any]:
    """What a clip `(frame, 3, 64, 64)` in [0, 1] shows, and the metrics of how well."""
    verdict = judge(clip)
    shown = {name: getattr(verdict.scene, name) for name in ("shape", "colour", "background")}
    found = {name: round(value, 4) for name, value in qualities(clip, verdict).items()}
    return {**shown, "motion": verdict.fit.motion, "frames": len(clip), **found}


def frames(path: Path) -> Tensor:
    """A video's frames `(frame, 3, 64, 64)` in [0, 1]; ValueError where it has fewer than two."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", f"file:{path}", "-vf", SQUARE]
    done = subprocess.run(
        [*command, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"], capture_output=True, check=False
    )
    count = len(done.stdout) // (SIZE * SIZE * 3)
    if done.returncode or count < 2:
        told = done.stderr.decode(errors="replace").strip().splitlines()
        raise ValueError(told[-1] if told else "it has fewer than two frames")
    pixels = torch.frombuffer(bytearray(done.stdout), dtype=torch.uint8).view(count, SIZE, SIZE, 3)
    return pixels.permute(0, 3, 1, 2).float() / 255


if __name__ == "__main__":
    sys.exit(main())
