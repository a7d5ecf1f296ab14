"""Train the embedded experts from nothing: `python scripts/train_embedded.py --out train`.

Stages: text, vae, decoder, latents, spatial, then control and temporal side by side, one
single-threaded process each; then a second round of the three UNets and a third of the video
experts, each from where its last left it, over clips with more night skies. Every stage is seeded
and checkpointed once a minute; after a kill the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from training.latents import Clips

# Large tensors come and go every step; giving memory back would take a third of the time.
ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": "1073741824",
    "MALLOC_TRIM_THRESHOLD_": "4294967296",
    "MALLOC_TOP_PAD_": "134217728",
}
STAGES = (
    ("text",), ("vae",), ("decoder",), ("latents",), ("spatial",), ("control", "temporal"),
    ("spatial_second",), ("control_second", "temporal_second"), ("control_third", "temporal_third"),
)  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out", type=Path, default=Path("train"), help="where checkpoints and networks go"
    )
    parser.add_argument(
        "--stage", choices=[name for group in STAGES for name in group], help="run only this stage"
    )
    parser.add_argument(
        "--threads", type=int, default=0, help="CPU threads of a stage that runs alone (0: torch's)"
    )
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.stage:
        run_stage(options.stage, options.out, options.threads)
        return 0
    for group in STAGES:
        threads = 1 if len(group) > 1 else options.threads
        running = [start(name, options.out, threads) for name in group]
        codes = [process.wait() for process in running]
        if any(codes):
            return 1
    return 0


def start(stage: str, out: Path, threads: int) -> subprocess.Popen[bytes]:
    """One stage in a process of its own."""
    command = [
        sys.executable,
        __file__,
        "--stage",
        stage,
        "--out",
        str(out),
        "--threads",
        str(threads),
    ]
    return subprocess.Popen(command, env={**os.environ, **ALLOCATOR})


def run_stage(stage: str, out: Path, threads: int) -> None:
    """Run one stage in this process; it reads what the stages before it left in `out`."""
    import torch
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    from training import latents, text, vae

    if threads:
        torch.set_num_threads(threads)
    match stage:
        case "text":
            text.train_text(out)
        case "vae":
            trained = vae.train_vae(out)
            print(
                f"vae: {vae.psnr(trained, vae.unseen(128)):.2f} dB on held-out frames", flush=True
            )
        case "decoder":
            trained = vae.train_decoder(out)
            print(
                f"decoder: {vae.psnr(trained, vae.unseen(128)):.2f} dB on held-out frames",
                flush=True,
            )
        case "latents":
            latents.encode_clips(AutoencoderKL.from_pretrained(out / "vae").eval(), out)
        case "spatial" | "control" | "temporal":
            train_unet(stage, latents.load_clips(out), out)
        case _:
            train_unet_further(stage, latents.load_clips(out).with_more("night sky"), out)


def train_unet(stage: str, clips: Clips, out: Path) -> None:
    """The first round of a UNet; the video experts start from the spatial one."""
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    from training import spatial, video

    if stage == "spatial":
        spatial.train_spatial(spatial.FIRST, spatial.build(), clips, out)
        return
    image = UNet2DConditionModel.from_pretrained(out / "spatial" / "unet")
    if stage == "control":
        video.train_control(video.CONTROL, video.build_control(image), clips, out)
    else:
        video.train_temporal(video.TEMPORAL, video.build_temporal(image), clips, out)


def train_unet_further(stage: str, clips: Clips, out: Path) -> None:
    """The second and third round: each UNet by itself, from where its last round left it."""
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from diffusers.models.unets.unet_3d_condition import UNet3DConditionModel

    from training import spatial, video

    match stage:
        case "spatial_second":
            unet = UNet2DConditionModel.from_pretrained(out / "spatial" / "unet")
            spatial.train_spatial(spatial.SECOND, unet, clips, out)
        case "control_second" | "control_third":
            recipe = video.CONTROL_SECOND if stage == "control_second" else video.CONTROL_THIRD
            video.train_control(recipe, video.load_control(out), clips, out)
        case "temporal_second" | "temporal_third":
            recipe = video.TEMPORAL_SECOND if stage == "temporal_second" else video.TEMPORAL_THIRD
            unet = UNet3DConditionModel.from_pretrained(out / "temporal" / "unet")
            video.train_temporal(recipe, unet, clips, out)


if __name__ == "__main__":
    sys.exit(main())
