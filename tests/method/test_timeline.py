import math
from itertools import pairwise

import pytest

from confiner_cli.method.long.timeline import Span, Timeline

SEGMENTS = [1, 2, 3, 8, 15, 16]
LENGTHS = [*range(1, 68), 119, 120, 121, 200]
TIMELINES = [Timeline(num_frames, segment) for num_frames in LENGTHS for segment in SEGMENTS]
OVERLAPPING = [
    Timeline(num_frames, segment, overlap, staggered)
    for num_frames in (1, 7, 15, 16, 17, 22, 23, 24, 25, 26, 31, 33, 90, 201)
    for segment in (2, 8, 15, 16)
    for overlap in range(segment // 2 + 1)
    for staggered in (True, False)
]


def refines(timeline):
    return [timeline.refines(number) for number in range(int(timeline.window_count))]


def test_windows_tile_the_video():
    for timeline in TIMELINES + OVERLAPPING:
        covered = [frame for window in timeline.windows for frame in window.frames]
        assert covered == list(range(timeline.num_frames)), timeline
        assert all(len(window) > 0 for window in timeline.windows), timeline


def test_structures_follow_each_other_and_only_the_last_reaches_beyond_the_video():
    for timeline in TIMELINES:
        spans = timeline.structures
        assert spans[0].start == 0 and spans[-1].start < timeline.num_frames <= spans[-1].stop, (
            timeline
        )
        assert all(one.stop == following.start for one, following in pairwise(spans)), timeline
        whole = min(timeline.num_frames, timeline.segment_frames)
        assert all(len(span) == whole for span in spans), timeline


def test_every_seam_between_structures_lies_inside_a_window():
    for timeline in TIMELINES:
        if timeline.segment_frames == 1:
            continue  # A structure of one frame has no middle to cut in.
        for seam in (span.stop for span in timeline.structures[:-1]):
            assert any(window.start < seam < window.stop for window in timeline.windows), (
                timeline,
                seam,
            )


def test_no_window_reaches_further_than_from_one_structures_middle_to_the_nexts():
    for timeline in TIMELINES:
        assert max(map(len, timeline.windows)) <= timeline.segment_frames, timeline


def test_no_window_refines_more_than_a_structure_and_the_overlap():
    for timeline in TIMELINES + OVERLAPPING:
        assert max(map(len, refines(timeline))) <= timeline.length + timeline.overlap, timeline


def test_adjacent_windows_both_refine_the_overlap_and_nothing_else():
    for timeline in TIMELINES + OVERLAPPING:
        if timeline.structure_count == 1:
            continue
        for one, following in pairwise(refines(timeline)):
            assert one.stop - following.start == timeline.overlap, timeline


def test_a_window_decides_the_first_of_the_frames_it_refines():
    for timeline in TIMELINES + OVERLAPPING:
        for window, refined in zip(timeline.windows, refines(timeline), strict=True):
            assert window.start == refined.start and window.stop <= refined.stop, timeline
            assert refined.stop <= timeline.structures[-1].stop, timeline


def test_windows_that_are_not_staggered_are_the_structures():
    timeline = Timeline(45, 8, staggered=False)
    assert [Span(span.start, min(span.stop, 45)) for span in timeline.structures] == list(
        timeline.windows
    )


def test_a_longer_video_has_the_same_windows_as_far_as_both_have_structures():
    endless = Timeline(math.inf, 16, overlap=4)
    for num_frames in range(17, 200):
        timeline = Timeline(num_frames, 16, overlap=4)
        for number in range(int(timeline.window_count)):
            span = timeline.refines(number)
            assert span == endless.refines(number) or span.stop == timeline.structures[-1].stop, (
                timeline
            )
        assert [timeline.window(n) for n in range(len(timeline.windows) - 1)] == [
            endless.window(n) for n in range(len(timeline.windows) - 1)
        ]


def test_a_video_that_ends_where_a_window_does_is_the_beginning_of_one_without_an_end():
    endless = Timeline(math.inf, 16, overlap=4)
    for number in range(1, 20):
        timeline = Timeline(endless.window(number).stop, 16, overlap=4)
        assert refines(timeline) == [endless.refines(n) for n in range(number + 1)]


def test_a_video_that_fits_has_one_window_which_is_its_one_structure():
    for timeline in TIMELINES:
        if timeline.num_frames <= timeline.segment_frames:
            (window,), (structure,) = timeline.windows, timeline.structures
            assert window == structure == timeline.refines(0) and window.frames == range(
                timeline.num_frames
            )


@pytest.mark.parametrize("lengths", [(0, 16), (16, 0), (-3, 16)])
def test_a_length_below_one_raises(lengths):
    with pytest.raises(ValueError, match="at least one frame"):
        Timeline(*lengths)


@pytest.mark.parametrize("overlap", [-1, 9])
def test_an_overlap_of_more_than_half_a_structure_raises(overlap):
    with pytest.raises(ValueError, match="cannot overlap"):
        Timeline(40, 16, overlap)
