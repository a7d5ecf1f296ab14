"""Write a random Wan 2.1 as it is published: `python scripts/make_wan.py FOLDER`.

A pipeline folder in the layout of Wan-AI/Wan2.1-T2V-1.3B-Diffusers, for measuring what loading and
sampling take: the transformer (5.7 GB) and the VAE (0.5 GB) in float32, the text encoder (11.4 GB)
in bfloat16, in shards of 5 GB. It takes the memory of the largest tensor and minutes.

    python scripts/make_wan.py FOLDER --parts transformer --gates
    python scripts/make_wan.py FOLDER --tiny

write one component, as FastVideo's distilled models have it; and small networks, in a moment.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from wan.folder import PARTS, SHARD, WanFolder


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    if options.folder.exists() and any(options.folder.iterdir()):
        sys.exit(f"error: {options.folder} exists and is not empty\nhint: name a new folder")
    folder = WanFolder(options.folder, options.tiny, options.gates, options.shard)
    folder = replace(folder, random=torch.Generator().manual_seed(options.seed))
    if options.parts:
        for part in options.parts:
            PARTS[part](folder)
    else:
        folder.write()
    size = sum(path.stat().st_size for path in options.folder.rglob("*") if path.is_file())
    print(f"{options.folder}: {size / 10**9:.2f} GB")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="a new folder")
    parser.add_argument("--parts", nargs="+", choices=PARTS, help="these components alone")
    parser.add_argument("--tiny", action="store_true", help="small networks")
    parser.add_argument("--gates", action="store_true", help="FastVideo's tensors in each block")
    parser.add_argument("--shard", type=int, default=SHARD, help="bytes of a shard")
    parser.add_argument("--seed", type=int, default=0)
    return parser


if __name__ == "__main__":
    main()
