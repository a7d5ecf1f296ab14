"""Put trained networks into the package: `python scripts/package_embedded.py --from train`.

Writes `confiner_cli/embedded/` in diffusers' formats, weights as float16 safetensors, parts that
experts share once.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

from confiner_cli.weights.tensors import save_tensors
from world import captions
from world.scene import ATTRIBUTES, placed, seen_in_training

TARGET = Path(__file__).resolve().parents[1] / "confiner_cli" / "embedded"
NETWORKS = {
    "vae": "shared/vae", "text_encoder": "shared/text_encoder", "tokenizer": "shared/tokenizer",
    "spatial/unet": "spatial/unet", "temporal/unet": "temporal/unet",
    "control/unet": "control/unet", "control/motion_adapter": "control/motion_adapter",
}  # fmt: skip
SUMMARY = (
    "they know five shapes (circle, square, triangle, star, heart) in six colours (red, orange, "
    "yellow, green, blue, purple) over grass, night sky, sea or sand, standing still, moving left "
    "or right, rising, falling, growing, swinging or pulsing"
)
EXAMPLES = (
    "a red heart rising over the sea",
    "a yellow star pulsing in the night sky",
    "a blue circle moving left over the sand",
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--from", dest="source", type=Path, default=Path("train"))
    source = parser.parse_args().source
    if missing := [name for name in NETWORKS if not (source / name).is_dir()]:
        sys.exit(f"error: {source} has no {', '.join(missing)}\nhint: make train makes them")
    for name, place in NETWORKS.items():
        copy(source / name, TARGET / place)
    knows = {"summary": SUMMARY, "examples": EXAMPLES, "words": words()}
    (TARGET / "knows.json").write_text(json.dumps(knows, indent=1) + "\n", encoding="utf-8")
    size = sum(path.stat().st_size for path in TARGET.rglob("*") if path.is_file())
    print(f"{TARGET}: {size / 2**20:.1f} MiB")


def copy(source: Path, target: Path) -> None:
    """Copy one part; its weights become float16."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    path = target / "config.json"
    if path.is_file():
        config = json.loads(path.read_text(encoding="utf-8"))
        if config.pop("_name_or_path", None):  # says where it was trained
            path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    for path in target.glob("*.safetensors"):
        tensors = {key: half(value) for key, value in load_file(path).items()}
        save_tensors(tensors, path, metadata={"format": "pt"})


def half(tensor: torch.Tensor) -> torch.Tensor:
    """float16 where it is a floating-point tensor."""
    return tensor.to(torch.float16) if tensor.is_floating_point() else tensor


def words() -> list[str]:
    """Every word of the captions' grammar, and of the attributes' own names."""
    rng = random.Random(0)
    known = [placed(combination, rng) for combination in seen_in_training()]
    texts = [captions.caption(rng.choice(known), rng) for _ in range(20_000)]
    texts += [captions.canonical(scene) for scene in known]
    texts += [" ".join(values) for values in ATTRIBUTES.values()]
    return sorted({word for text in texts for word in re.findall(r"[^\W_]+", text.lower())})


if __name__ == "__main__":
    main()
