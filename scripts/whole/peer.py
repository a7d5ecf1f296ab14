"""A whole process of diffusers: `python peer.py FOLDER PROMPT OUT`. It makes a video and saves it.

What somebody writes who has the control expert as a pipeline folder: AnimateDiffPipeline, four
steps of Euler, sixteen frames, no guidance, an MP4.
"""

from __future__ import annotations

import sys

import torch
from diffusers import AnimateDiffPipeline
from imageio_ffmpeg import write_frames

FRAMES, SIZE, STEPS, FPS = 16, 64, 4, 8


def main() -> None:
    folder, prompt, out = sys.argv[1:]
    pipeline = AnimateDiffPipeline.from_pretrained(folder, local_files_only=True)
    made = pipeline(
        prompt,
        num_frames=FRAMES,
        height=SIZE,
        width=SIZE,
        num_inference_steps=STEPS,
        guidance_scale=1.0,
        generator=torch.Generator().manual_seed(1),
        output_type="np",
    )
    frames = (made.frames[0] * 255).round().astype("uint8")
    writer = write_frames(out, (SIZE, SIZE), fps=FPS, macro_block_size=1)
    writer.send(None)
    for frame in frames:
        writer.send(frame.tobytes())
    writer.close()


if __name__ == "__main__":
    main()
