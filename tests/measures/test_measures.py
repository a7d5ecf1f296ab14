"""Every measure is believed only after it has told known injuries of a moving pattern from others.

An injury has a dose; what measures it must follow the dose, and what measures something else must
stay where it was.
"""

from __future__ import annotations

import math
import sys
import weakref
from functools import cache, partial
from itertools import pairwise

import cv2
import numpy as np
import pytest
import torch
from support.injuries import Injury, blurred, flattened, frozen, gradual, noisy, shuffled, turned
from support.moving_texture import PERIOD, SIZE, moving, steady
from torch import Tensor

from confiner_cli.measures import table
from confiner_cli.measures.flicker import Flicker
from confiner_cli.measures.loop_seam import LoopSeam
from confiner_cli.measures.optical_flow import LARGEST, Moment, moments
from confiner_cli.measures.pictures import luma
from confiner_cli.measures.table import MEASURES, explained
from confiner_cli.measures.video import measure_frames

FRAMES = 16
SPEED = PERIOD / FRAMES
"""Pixels a frame: the pattern comes back to where it was, and the clip is a loop."""
STAYS = {
    "flicker": 0.12, "motion_amplitude": 0.04, "motion_smoothness": 0.03, "sharpness": 0.012,
    "drift": 0.02, "loop_seam": 0.2,
}  # fmt: skip
"""How far a measure may go from what it is where nothing is done to what it measures."""
LOOP = ("loop_seam",)


def pictures(clip: Tensor) -> list[np.ndarray]:
    """Frames as they are decoded: uint8 `(height, width, 3)`."""
    levels = (255 * clip.clamp(0, 1)).round().byte()
    return list(levels.permute(0, 2, 3, 1).numpy())


def measured(clip: Tensor) -> dict[str, float]:
    return measure_frames(pictures(clip), len(clip)).values


def draws(count: int, *shape: int) -> Tensor:
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(3))


def brightened(clip: Tensor, std: float) -> Tensor:
    """Another brightness in every frame, its standard deviation in levels of 0-255."""
    return clip + std / 255 * draws(len(clip), 1, 1, 1)


def darkened(clip: Tensor, dose: float) -> Tensor:
    """Darker by levels of 0-255."""
    return clip - dose / 255


def tinted(clip: Tensor, dose: float) -> Tensor:
    """More red, less blue, by levels of 0-255."""
    return clip + dose / 255 * torch.tensor([1.0, 0.0, -1.0]).view(3, 1, 1)


def cut(clip: Tensor, frames: float) -> Tensor:
    """So many frames at the end left out."""
    return clip[: len(clip) - int(frames)]


def jerky(clip: Tensor, share: float) -> Tensor:
    """Every second frame late or early, by shares of a step; the way is the same."""
    offs = share * SPEED * torch.tensor([0.0, 1.0]).repeat(FRAMES // 2)
    return moving([(SPEED * frame + off, 0.0) for frame, off in enumerate(offs.tolist())])


def faster(clip: Tensor, times: float) -> Tensor:
    """So many rounds more in as many frames."""
    return steady(FRAMES, SPEED * (1 + times))


INJURIES = {
    "flickering brightness": Injury(
        brightened, (0, 1, 2, 4), {"flicker": 1}, ("drift", "loop_seam")
    ),
    "noise": Injury(
        noisy, (0, 2, 4, 8), {"flicker": 1, "sharpness": 1}, ("motion_smoothness", "loop_seam")
    ),
    "blur": Injury(blurred, (0, 0.7, 1, 1.5), {"sharpness": -1}),
    "less contrast": Injury(flattened, (0, 0.1, 0.4), {}),
    "less brightness": Injury(darkened, (0, 10, 40), {}),
    "another hue": Injury(turned, (0, 10, 40), {}),
    "drifting colour": Injury(partial(gradual, tinted), (0, 8, 16, 32), {"drift": 1}, LOOP),
    "drifting contrast": Injury(partial(gradual, flattened), (0, 0.1, 0.2), {"drift": 1}, LOOP),
    "drifting blur": Injury(
        partial(gradual, blurred), (0, 0.7, 1, 1.5), {"drift": 1}, ("sharpness", *LOOP)
    ),
    "a cut at the loop": Injury(cut, (0, 1, 2, 3), {"loop_seam": 1}),
    "jerky motion": Injury(jerky, (0, 0.2, 0.4, 0.8), {"motion_smoothness": -1}, LOOP),
    "faster motion": Injury(faster, (0, 1, 2), {"motion_amplitude": 1}),
    "frozen video": Injury(
        frozen, (0, 4, 8, 15), {"motion_amplitude": -1}, ("flicker", "motion_smoothness", *LOOP)
    ),
    "shuffled frames": Injury(
        shuffled, (0, 1), {"motion_smoothness": -1}, ("flicker", "motion_amplitude", *LOOP)
    ),
}  # fmt: skip


@cache
def found(name: str) -> list[dict[str, float]]:
    """The measures for every dose of an injury."""
    injury, clip = INJURIES[name], steady(FRAMES, SPEED)
    return [measured(injury.do(clip, dose)) for dose in injury.doses]


@pytest.mark.parametrize(
    ("name", "measure"), [(name, moved) for name, one in INJURIES.items() for moved in one.moves]
)
def test_a_measure_follows_the_dose_of_its_own_injury(name, measure):
    values, sign = [line[measure] for line in found(name)], INJURIES[name].moves[measure]
    assert all(sign * (after - before) > 0 for before, after in pairwise(values)), values
    assert sign * (values[-1] - values[0]) > 3 * STAYS[measure], values


@pytest.mark.parametrize("name", INJURIES)
def test_measures_stay_put_where_nothing_is_done_to_what_they_measure(name):
    injury, lines = INJURIES[name], found(name)
    for measure in set(MEASURES) - set(injury.moves) - set(injury.touches):
        values = [line[measure] for line in lines]
        assert max(values) - min(values) <= STAYS[measure], (measure, values)


def test_every_measure_has_an_injury_of_its_own():
    assert (
        {moved for one in INJURIES.values() for moved in one.moves} == set(MEASURES) == set(STAYS)
    )


def test_flicker_of_noise_is_nearly_its_standard_deviation():
    """Of three normal values `|b - (a + c) / 2|` is `sqrt(3 / pi)` of their deviation."""
    for std, line in list(zip(INJURIES["noise"].doses, found("noise"), strict=True))[1:]:
        assert line["flicker"] == pytest.approx(math.sqrt(3 / math.pi) * std, rel=0.05)


@pytest.mark.parametrize(("along", "down"), [(0.3, 0.0), (1.0, 0.5), (0.0, 2.0), (-2.5, 1.5)])
def test_a_translation_is_measured_in_percent_of_the_diagonal(along, down):
    line = measured(moving([(along * frame, down * frame) for frame in range(6)]))
    share = 100 * math.hypot(along, down) / math.hypot(*SIZE)
    assert line["motion_amplitude"] == pytest.approx(share, rel=0.06)
    assert line["motion_smoothness"] > 0.95
    assert line["flicker"] < 0.5


def test_steps_of_two_lengths_are_as_smooth_as_they_are_alike():
    """Steps of `1 + e` and `1 - e` by turns: they change by 2 e of 2."""
    for share, line in zip(INJURIES["jerky motion"].doses, found("jerky motion"), strict=True):
        assert line["motion_smoothness"] == pytest.approx(1 - share, abs=0.04)


def test_a_large_frame_is_measured_as_a_small_one_is_but_for_its_sharpness():
    small = steady(4, 1.0, (60, 96))
    large = small.repeat_interleave(5, dim=2).repeat_interleave(5, dim=3)
    here, there = measured(small), measured(large)
    assert next(moments(pictures(large))).frame.shape == (160, LARGEST, 3)
    assert there["motion_amplitude"] == pytest.approx(here["motion_amplitude"], rel=0.05)
    assert there["sharpness"] < here["sharpness"] / 2


def test_sharpness_is_that_of_white_noise_and_of_nothing():
    noise = noisy(torch.full((2, 3, 64, 64), 0.5), 30)
    assert measured(noise)["sharpness"] == pytest.approx(math.sqrt(2), rel=0.02)
    assert measured(torch.zeros(2, 3, 8, 8))["sharpness"] == 0


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (8, 200), (16, 16)])
def test_a_picture_that_stands_still_is_perfect_in_any_size(size):
    assert measured(0.5 + torch.zeros(5, 3, *size)) == {
        "flicker": 0, "motion_amplitude": 0, "motion_smoothness": 1, "sharpness": 0, "drift": 0,
        "loop_seam": 1,
    }  # fmt: skip


def over(background: Tensor, speed: int) -> Tensor:
    """A square of another pattern that moves over a background, and hides a part of it."""
    clip, square = background.clone(), 1 - steady(1, 0, (12, 12))[0].flip(0)
    for frame, picture in enumerate(clip):
        left = 4 + speed * frame
        picture[:, 12:24, left : left + 12] = square
    return clip


def test_what_is_hidden_and_comes_out_again_neither_flickers_nor_jerks():
    line = measured(over(steady(8, 0), 4))
    assert line["flicker"] < 1
    assert line["motion_smoothness"] > 0.87


def test_noise_over_what_stands_still_does_not_jerk():
    still = noisy(over(steady(8, 0), 2), 4)
    assert measured(still)["motion_smoothness"] > 0.83


def test_where_nothing_can_be_followed_all_of_a_frame_flickers():
    grey, none = np.full((4, 4, 3), 100, np.float32), np.zeros((4, 4, 2), np.float32)
    flicker = Flicker()
    flicker.add(Moment(grey, grey + 8, grey, none, none, np.zeros((4, 4), np.bool_)))
    assert flicker.value() == 8


def test_a_cut_in_the_middle_hides_no_jump_at_the_end():
    seam = LoopSeam()
    for level in (0, 10, 20, 120, 130, 140, 150):
        seam.add(np.full((2, 2, 3), level, np.uint8))
    assert seam.value() == 150 / 10


def test_brightness_is_that_of_bt709():
    colours = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]], np.uint8)
    assert luma(colours).tolist() == [[54, 182, 19, 255]]


@pytest.mark.parametrize(
    ("count", "names"), [(1, ["sharpness"]), (2, ["sharpness", "drift"]), (3, list(MEASURES))]
)
def test_a_video_has_the_measures_that_it_is_long_enough_for(count, names):
    result = measure_frames(pictures(steady(count, SPEED)), count)
    assert list(result.values) == names
    assert set(result.lacking) == set(MEASURES) - set(names)
    assert all(f"and there are {count}" in line for line in explained(result.lacking))


@pytest.mark.parametrize("installed", [True, False])
def test_no_frame_is_kept_once_it_is_measured_but_the_first(monkeypatch, installed):
    if not installed:
        monkeypatch.setattr(table, "find_spec", lambda name: None)
    alive: list[weakref.ref] = []
    most = 0

    def frames():
        nonlocal most
        for number in range(40):
            frame = np.full((20, 20, 3), 5 * number, np.uint8)
            alive[:] = [weakref.ref(frame), *(each for each in alive if each() is not None)]
            most = max(most, len(alive))
            yield frame

    measure_frames(frames(), 40)
    assert 2 <= most <= 5


def test_opencv_takes_one_thread_while_it_measures_and_has_its_own_number_afterwards():
    seen, before = set(), cv2.getNumThreads()

    def frames():
        for picture in pictures(steady(4, SPEED)):
            seen.add(cv2.getNumThreads())
            yield picture

    try:
        cv2.setNumThreads(3)
        measure_frames(frames(), 4)
        assert seen == {1} and cv2.getNumThreads() == 3
    finally:
        cv2.setNumThreads(before)


def test_without_opencv_the_rest_is_measured_and_the_lack_is_told(monkeypatch):
    whole = measured(steady(4, SPEED))
    monkeypatch.setitem(sys.modules, "cv2", None)
    for name in [name for name in sys.modules if name.startswith("confiner_cli.measures.")]:
        if name.endswith(("optical_flow", "flicker", "motion")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(table, "find_spec", lambda name: None)
    result = measure_frames(pictures(steady(4, SPEED)), 4)
    assert result.values == {name: whole[name] for name in ("sharpness", "drift", "loop_seam")}
    (line,) = explained(result.lacking)
    assert "flicker, motion_amplitude, motion_smoothness" in line
    assert 'pip install "confiner[measure]"' in line
