"""Memory does not grow with the length of a video: each length in a process of its own, by its peak."""

import pytest
from support.command_line import PROMPT, ended, facts_of, started

from confiner_cli.media.source_video import probe

QUICK = (
    "long_video=confiner_long", "seed=3", "scheduler.structure.num_inference_steps=1",
    "scheduler.refinement.num_inference_steps=1", "scheduler.refinement.pattern=spatial_only",
)  # fmt: skip


def peak(num_frames, folder):
    ending = ended(started("generate", PROMPT, *QUICK, f"num_frames={num_frames}", f"output.dir={num_frames}",
                           folder=folder), timeout=3000)  # fmt: skip
    assert ending.code == 0, ending.err
    assert probe(folder / f"{num_frames}" / "video.mp4").num_frames == num_frames
    return facts_of(folder / f"{num_frames}")["peak_memory_bytes"]


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    return peak(64, tmp_path_factory.mktemp("short"))


@pytest.mark.slow
@pytest.mark.parametrize("num_frames", [600, 6000])
def test_peak_memory_is_that_of_64_frames_within_5_percent(tmp_path, short, num_frames):
    found = peak(num_frames, tmp_path)
    print(f"{num_frames} frames: {found / 2**20:.0f} MiB, 64 frames: {short / 2**20:.0f} MiB")
    assert found <= 1.05 * short
