from itertools import pairwise

import pytest
import torch

from confiner_cli.generate import windows
from confiner_cli.timeline import Timeline

SEGMENTS = [1, 2, 3, 8, 15, 16]
TIMELINES = [Timeline(num_frames, segment) for num_frames in range(1, 201) for segment in SEGMENTS]


def test_windows_tile_the_video():
    for timeline in TIMELINES:
        covered = [frame for window in timeline.windows for frame in window.frames]
        assert covered == list(range(timeline.num_frames)), timeline
        assert all(len(window) > 0 for window in timeline.windows), timeline


def test_structures_follow_each_other_and_only_the_last_reaches_beyond_the_video():
    for timeline in TIMELINES:
        spans = timeline.structures
        assert spans[0].start == 0 and spans[-1].start < timeline.num_frames <= spans[-1].stop, timeline
        assert all(one.stop == following.start for one, following in pairwise(spans)), timeline
        whole = min(timeline.num_frames, timeline.segment_frames)
        assert all(len(span) == whole for span in spans), timeline


def test_every_seam_between_structures_lies_inside_a_window():
    for timeline in TIMELINES:
        if timeline.segment_frames == 1:
            continue  # A structure of one frame has no middle to cut in.
        for seam in (span.stop for span in timeline.structures[:-1]):
            assert any(window.start < seam < window.stop for window in timeline.windows), (timeline, seam)


def test_no_window_reaches_further_than_from_one_structures_middle_to_the_nexts():
    for timeline in TIMELINES:
        assert max(map(len, timeline.windows)) <= timeline.segment_frames, timeline


def test_a_video_that_fits_has_one_window_which_is_its_one_structure():
    for timeline in TIMELINES:
        if timeline.num_frames <= timeline.segment_frames:
            (window,), (structure,) = timeline.windows, timeline.structures
            assert window == structure and window.frames == range(timeline.num_frames)


@pytest.mark.parametrize("lengths", [(0, 16), (16, 0), (-3, 16)])
def test_a_length_below_one_raises(lengths):
    with pytest.raises(ValueError, match="at least one frame"):
        Timeline(*lengths)


@pytest.mark.parametrize(("num_frames", "segment"), [(1, 16), (16, 16), (17, 16), (45, 8), (80, 16), (23, 5), (4, 1)])
def test_windows_are_cut_from_a_stream_of_structures_that_is_read_no_further_than_needed(num_frames, segment):
    timeline = Timeline(num_frames, segment)
    length = len(timeline.structures[0])
    read = []

    def drafts():
        for span in timeline.structures:
            read.append(span)
            yield torch.arange(span.start, span.stop).view(1, 1, -1, 1, 1).float()

    stream = windows(timeline, drafts())
    assert read == []
    for window in timeline.windows:
        span, latents = next(stream)
        assert span == window
        assert latents.flatten().tolist() == list(window.frames)
        assert len(read) == -(-window.stop // length)
    assert next(stream, None) is None
