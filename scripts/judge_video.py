"""Judge any video of the embedded experts' world: `python scripts/judge_video.py VIDEO...`.

Says, in a line of JSON for each, which shape, colour, background and motion it shows and how well
it is drawn (`evaluation/`), whoever made it. The middle square is taken and scaled to the 64 x 64
pixels that the judge knows.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from confiner_cli.media import ffmpeg
from evaluation.clips import clip_of
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
    try:
        pixels = list(ffmpeg.decode(path, "-vf", SQUARE))
    except ffmpeg.DecodingError as error:
        raise ValueError(str(error)) from error
    if len(pixels) < 2:
        raise ValueError("it has fewer than two frames")
    return clip_of(torch.stack(pixels))


if __name__ == "__main__":
    sys.exit(main())
