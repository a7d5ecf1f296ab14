"""The figure of README shows what the code does, and can be read."""

import re
from itertools import combinations
from xml.etree import ElementTree

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

import draw_timeline
from confiner_cli.config.hydra import settings_with
from confiner_cli.config.resolve import resolve
from confiner_cli.method.long.timeline import Timeline
from draw_timeline import OUTPUT, OVERRIDES, TIMELINE, write
from drawing.figure import figure, shown
from drawing.stops import described, draft_stops, refinement_stops

DESCRIPTION = "{http://purl.org/dc/elements/1.1/}description"


@pytest.fixture(scope="module")
def walk():
    job = resolve(settings_with(OVERRIDES))
    return draft_stops(job), refinement_stops(job)


@pytest.fixture(scope="module")
def panels(walk):
    drawn = figure(TIMELINE, *walk)
    FigureCanvasAgg(drawn).draw()
    return drawn.axes


def test_the_figure_in_docs_is_the_one_that_the_code_draws_today(walk):
    (told,) = (found.text for found in ElementTree.parse(OUTPUT).iter(DESCRIPTION))
    assert told == described(TIMELINE, *walk)


def test_it_is_the_same_file_every_time(tmp_path):
    for name in ("first.svg", "second.svg"):
        write(tmp_path / name)
    assert (tmp_path / "first.svg").read_bytes() == (tmp_path / "second.svg").read_bytes()


def test_every_structure_and_window_is_a_box_on_its_own_frames(panels):
    boxes = [(box.get_x(), box.get_x() + box.get_width()) for box in panels[0].patches]
    spans = [*TIMELINE.structures, *map(TIMELINE.refines, range(len(TIMELINE.windows)))]
    assert sorted(boxes[: len(spans)]) == sorted((span.start, span.stop) for span in spans)


@pytest.mark.parametrize("overlap", [0, 3, 8])
@pytest.mark.parametrize("num_frames", [10, 17, 48, 50])
def test_the_pieces_of_the_video_tile_it(num_frames, overlap):
    pieces = [span for span, _ in shown(Timeline(num_frames, 16, overlap))]
    assert [frame for span in pieces for frame in span.frames] == list(range(num_frames))


def test_every_visit_is_a_mark_at_its_noise_level(panels, walk):
    marks = [line for line in panels[1].lines if len(line.get_xdata()) == 1]
    levels = [line.get_ydata()[0] for line in marks]
    draft, refinement = ([stop.noise for stop in stops] for stops in walk)
    assert levels == [*draft, 0, *refinement, 0]


def test_the_walk_has_the_visits_of_the_paper(walk):
    draft, refinement = walk
    assert [stop.role for stop in draft] == ["control"] * 4
    assert [stop.role for stop in refinement] == ["spatial", "temporal", "spatial"] * 5
    assert [stop.renoised for stop in refinement] == [True, True, True] + [False, True, True] * 4


def test_no_label_lies_on_another(panels):
    for axes in panels:
        labels = [*axes.texts, *axes.get_xticklabels(), *axes.get_yticklabels(), axes.get_legend()]
        extents = [label.get_window_extent() for label in labels if label and _said(label)]
        assert len(extents) > 10
        assert not [True for one, other in combinations(extents, 2) if one.overlaps(other)]


def _said(label):
    return not hasattr(label, "get_text") or re.search(r"\S", label.get_text())


def test_the_command_writes_where_it_is_told(tmp_path):
    assert draw_timeline.main(["--out", str(tmp_path / "figure.svg")]) == 0
    assert (tmp_path / "figure.svg").stat().st_size > 10_000
