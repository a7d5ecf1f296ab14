"""Frames and the latents that they are, and structures and windows that are whole latents."""

import math
from dataclasses import replace

import pytest

from confiner_cli.method.latent_space import LatentSpace
from confiner_cli.method.long.timeline import Timeline, count_up

PICTURES, WAN = LatentSpace(), LatentSpace(channels=16, time_factor=4, patch=2)
LENGTHS = [1, 2, 4, 5, 6, 16, 17, 40, 81, 82, 100]


@pytest.mark.parametrize("num_frames", LENGTHS)
def test_where_each_frame_is_a_latent_every_length_is_whole(num_frames):
    assert PICTURES.takes(num_frames)
    assert PICTURES.rounded_up(num_frames) == PICTURES.rounded_down(num_frames) == num_frames
    assert PICTURES.length(num_frames) == num_frames
    assert PICTURES.first_frames(range(5, 5 + num_frames)) == list(range(5, 5 + num_frames))


@pytest.mark.parametrize("num_frames", LENGTHS)
def test_a_causal_coder_takes_one_frame_and_then_four_for_each_latent(num_frames):
    up, down = WAN.rounded_up(num_frames), WAN.rounded_down(num_frames)
    assert up - 4 < num_frames <= up and down <= num_frames < down + 4
    assert WAN.takes(up) and WAN.takes(down) and WAN.takes(num_frames) == (up == down)
    assert WAN.length(num_frames) == WAN.length(up) == 1 + (up - 1) // 4


def test_latents_begin_with_the_frames_that_they_show_first():
    assert WAN.first_frames(range(9)) == [0, 1, 5]
    assert WAN.first_frames(range(30, 47)) == [30, 31, 35, 39, 43]
    assert WAN.first_frames(range(3, 4)) == [3]


def test_sizes_are_whole_patches_of_latents():
    assert (PICTURES.multiple, WAN.multiple) == (8, 16)
    assert WAN.shape(480, 832) == (16, 60, 104)


@pytest.mark.parametrize("num_frames", [*LENGTHS, math.inf])
@pytest.mark.parametrize(("segment", "overlap"), [(17, 0), (17, 4), (17, 8), (81, 20), (5, 2)])
@pytest.mark.parametrize("staggered", [True, False])
def test_structures_and_windows_are_whole_latents_and_their_frames_tile_the_video(
    num_frames, segment, overlap, staggered
):
    timeline = Timeline(num_frames, segment, overlap, staggered, WAN)
    assert WAN.takes(timeline.length)
    shown = 0
    for number in count_up(min(timeline.window_count, 7)):
        refined, window = timeline.refines(number), timeline.window(number)
        assert WAN.takes(len(refined))
        assert refined.start <= window.start == shown and window.stop <= refined.stop
        shared = range(window.start, window.start + (overlap if number else 0))
        before = timeline.refines(number - 1) if number else refined
        assert before.start <= shared.start and shared.stop <= min(before.stop, refined.stop)
        assert all(0 <= each < timeline.structure_count for each in timeline.structures_of(refined))
        shown = window.stop
    if timeline.window_count <= 7:
        assert shown == num_frames


def test_a_longer_video_has_the_windows_of_a_shorter_one_but_for_the_last():
    longer = Timeline(200, 17, 4, space=WAN)
    for num_frames in (60, 83, 120):
        timeline = replace(longer, num_frames=num_frames)
        for number in range(int(timeline.window_count) - 1):
            assert timeline.refines(number) == longer.refines(number)
