"""Memory does not grow with the length of a video: each by the peak of its own process."""

import pytest
from support.command_line import PROMPT, ended, facts_of, started

from confiner_cli.media.source_video import probe

QUICK = (
    "long_video=confiner_long", "seed=3", "scheduler.structure.num_inference_steps=1",
    "scheduler.refinement.num_inference_steps=1", "scheduler.refinement.pattern=spatial_only",
)  # fmt: skip
FRAME = 64 * 64 * 3
"""Bytes."""


def peak(num_frames, folder):
    words = (PROMPT, *QUICK, f"num_frames={num_frames}", f"output.dir={num_frames}")
    ending = ended(started("generate", *words, folder=folder), timeout=3000)
    assert ending.code == 0, ending.err
    assert probe(folder / f"{num_frames}" / "video.mp4").num_frames == num_frames
    return facts_of(folder / f"{num_frames}")["peak_memory_bytes"]


@pytest.mark.slow
def test_ten_times_the_frames_do_not_take_the_memory_that_the_frames_would(tmp_path):
    """Half of it is far beyond how much the peak of equal runs varies, whatever the allocator."""
    short, long = peak(600, tmp_path), peak(6000, tmp_path)
    print(f"6000 frames: {long / 2**20:.0f} MiB, 600 frames: {short / 2**20:.0f} MiB")
    assert long - short < (6000 - 600) * FRAME / 2
