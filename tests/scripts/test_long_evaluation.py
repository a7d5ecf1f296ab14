"""The evaluation of long videos, proven on renders that are cut, changed, repeated on purpose."""

import csv
import random
from dataclasses import replace
from itertools import islice

import pytest
import torch
from torch.nn.functional import avg_pool2d

import ablate_long
from confiner_cli.method.long.timeline import Timeline
from confiner_cli.runs.record import RunRecord
from evaluation.lines import Lines, OtherResultsError
from evaluation.prompts import draw
from long import lengths
from long.makers import made_with, sources
from long.metrics import (
    drift,
    judged,
    motion_segments,
    movement,
    repetition,
    right_frames,
    subject_consistency,
)
from long.plot import write_plot
from long.rows import CONFINER, FOLLOWS_ITSELF, FREE_NOISE, KINDS, PEERS, ROWS, kind_of
from long.run import METRICS, PIXEL_FLOOR, measured, row_by_row
from long.seams import Seams, pixel_changes, ratios
from world.render import FRAMES, TRAVEL, render
from world.scene import MOTIONS, placed

STAGGERED = Seams.of(Timeline(64, FRAMES, overlap=4))


def scene(motion, look=("star", "purple"), background="sea"):
    return placed((*look, motion, background), random.Random(motion))


def looped(motion, segments=4, **look):
    """The rendered clip over and over: a motion with a direction begins anew every time."""
    return render(scene(motion, **look)).repeat(segments, 1, 1, 1)


def seam_ratios(clip, seams=STAGGERED):
    return ratios(pixel_changes(clip), seams, PIXEL_FLOOR)


def test_seams_are_where_structures_and_windows_begin():
    assert STAGGERED.structures == (16, 32, 48)
    assert STAGGERED.windows == (range(6, 11), range(22, 27), range(38, 43), range(54, 59))
    bare = Timeline(48, FRAMES, staggered=False)
    assert (
        Seams.of(bare)
        == Seams.every(48, FRAMES, FRAMES)
        == Seams((16, 32), (range(16, 17), range(32, 33)))
    )
    assert Seams.of(Timeline(16, FRAMES)) == Seams((), ())


@pytest.mark.parametrize("motion", FOLLOWS_ITSELF)
def test_a_clip_that_follows_itself_has_no_seams(motion):
    found = seam_ratios(looped(motion))
    assert all(0.7 <= value <= 2 for value in found.values()), found
    assert motion != "standing still" or set(found.values()) == {1}


@pytest.mark.parametrize("motion", [motion for motion in MOTIONS if kind_of(motion) == KINDS[1]])
def test_a_motion_that_starts_over_jumps_at_structure_seams_and_nowhere_else(motion):
    found = seam_ratios(looped(motion))
    assert found["structure_seam"] > 4 and found["seam_near"] >= found["structure_seam"]
    assert found["window_seam"] == pytest.approx(1, abs=0.1)
    assert found["window_seam_largest"] == pytest.approx(1, abs=0.25)


def test_a_jump_beside_a_seam_is_near_it_and_not_at_it():
    found = seam_ratios(looped("moving left").roll(2, dims=0))
    assert found["structure_seam"] < 1.5 < 4 < found["seam_near"]


def test_a_jump_inside_an_overlap_is_a_window_seam_only():
    found = seam_ratios(looped("moving left").roll(8, dims=0))
    assert found["structure_seam"] < 1.5 and found["seam_near"] < 1.5
    assert found["window_seam"] > 1.5 and found["window_seam_largest"] > 4


def test_without_seams_there_is_no_ratio():
    assert all(value != value for value in seam_ratios(looped("rising", 1), Seams((), ())).values())


def test_a_drift_is_found_as_what_it_is():
    clip = looped("swinging from side to side")
    assert all(abs(value) < 1e-4 for value in drift(clip).values())
    last = clip[-FRAMES:]
    blurred = avg_pool2d(last, 3, stride=1, padding=1, count_include_pad=False)
    brighter, turned = (
        torch.cat((clip[:-FRAMES], end)) for end in (1.1 * last, last.roll(1, dims=1))
    )
    assert drift(brighter)["drift_brightness"] == pytest.approx(0.1, abs=1e-3)
    assert drift(torch.cat((clip[:-FRAMES], (last + last.mean()) / 2)))[
        "drift_contrast"
    ] == pytest.approx(-0.5, abs=0.02)
    assert drift(torch.cat((clip[:-FRAMES], blurred)))["drift_sharpness"] < -0.3
    assert drift(turned)["drift_hue"] == pytest.approx(120, abs=1)


def test_repetition_is_one_of_equal_segments_and_none_of_different_ones():
    assert repetition(looped("pulsing"))["repetition_mean"] == pytest.approx(1)
    assert repetition(looped("standing still"))["repetition_mean"] == 1
    different = torch.cat(
        [render(scene(motion)) for motion in ("rising", "moving left", "falling", "moving right")]
    )
    assert repetition(different)["repetition"] < 0.3
    neighbours = torch.cat(
        [render(scene(motion)) for motion in ("rising", "rising", "falling", "falling")]
    )
    assert repetition(neighbours)["repetition"] < 0.3
    assert (
        repetition(looped("rising", 2))["repetition"]
        != repetition(looped("rising", 2))["repetition"]
    )  # NaN


def test_every_frame_and_every_segment_counts():
    wanted = scene("rising")
    other = render(replace(wanted, colour="yellow", motion="falling"))
    verdicts = judged(torch.cat((looped("rising", 3), other)))
    assert right_frames(verdicts, wanted) == {
        "shape_frames": 1, "colour_frames": 0.75, "background_frames": 1, "looks_frames": 0.75,
    }  # fmt: skip
    assert subject_consistency(verdicts) == motion_segments(verdicts, wanted) == 0.75
    assert (
        motion_segments(judged(looped("rising", 3)[:40]), wanted) == 1
    )  # half a segment has no motion of its own


def test_movement_is_the_paths():
    moving = movement(judged(looped("moving right")))
    assert moving["movement"] == pytest.approx(100 * TRAVEL / (FRAMES - 1), rel=0.05)
    assert moving["resizing"] < 0.3
    assert movement(judged(looped("growing")))["resizing"] > 3
    assert max(movement(judged(looped("standing still"))).values()) == 0


def test_all_columns_of_a_video_are_measured():
    prompt = next(draw(0))
    assert set(measured(render(prompt.scene), prompt, Seams((), ()))) == set(METRICS)


def test_eight_prompts_have_all_motions():
    prompts = list(islice(draw(0), 8))
    assert {prompt.scene.motion for prompt in prompts} == set(MOTIONS)
    keys = [task.key for task in row_by_row({"a": "x", "b": "y"}, prompts, 3)]
    assert len(set(keys)) == len(keys) == 48


COLUMNS = ("row", "seed", "value")


@pytest.mark.parametrize("lost_bytes", [1, 3])
def test_after_a_kill_a_torn_line_is_made_again(tmp_path, lost_bytes):
    path = tmp_path / "results.csv"
    first = Lines(path, COLUMNS, COLUMNS[:2], "x")
    lines = [{"row": row, "seed": 1, "value": 0.123456789} for row in ("a", "b")]
    for line in lines:
        first.add(line)
    whole = path.read_bytes()
    path.write_bytes(whole[:-lost_bytes])
    again = Lines(path, COLUMNS, COLUMNS[:2], "x")
    assert set(again.lines) == {("a", "1")}
    again.add(lines[1])
    assert path.read_bytes() == whole and again.lines[("b", "1")]["value"] == "0.12346"


def test_processes_share_a_file_and_what_one_leaves_torn_the_other_repairs(tmp_path):
    path = tmp_path / "results.csv"
    mine, other = (Lines(path, COLUMNS, COLUMNS[:2], "x") for _ in range(2))
    mine.add({"row": "a", "seed": 1, "value": 1})
    with path.open("ab") as file:
        file.write(b"torn,1")
    other.add({"row": "b", "seed": 1, "value": 2})
    mine.refresh()
    assert path.read_text() == "row,seed,value\na,1,1\nb,1,2\n"
    assert mine.lines == other.lines | mine.lines and set(mine.lines) == {("a", "1"), ("b", "1")}


def test_results_of_something_else_are_refused(tmp_path):
    Lines(tmp_path / "results.csv", COLUMNS, COLUMNS[:2], "weights 1")
    with pytest.raises(OtherResultsError, match="other weights"):
        Lines(tmp_path / "results.csv", COLUMNS, COLUMNS[:2], "weights 2")
    with pytest.raises(OtherResultsError, match="other columns"):
        Lines(tmp_path / "results.csv", (*COLUMNS, "more"), COLUMNS[:2], "weights 1")


@pytest.mark.parametrize("row", CONFINER)
def test_every_rows_settings_are_valid(row):
    assert len(made_with(row, 96, [])) == 8


@pytest.mark.parametrize("row", ["confiner_long", PEERS[0]])
def test_results_of_other_settings_are_not_a_rows_own(row):
    assert made_with(row, 96, []) not in (
        made_with(row, 48, []),
        made_with(row, 96, ["scheduler.refinement.te=50"]),
    )


def test_free_noise_makes_as_many_frames_as_are_asked_for(monkeypatch):
    monkeypatch.setitem(FREE_NOISE, "free_noise_1", 1)
    peer = sources(20, [])("free_noise_1")
    made = [peer.make(next(draw(0)), seed) for seed in (1, 1, 2)]
    assert (
        made[0].clip.shape == (20, 3, 64, 64) and 0 <= made[0].clip.min() < made[0].clip.max() <= 1
    )
    assert torch.equal(made[0].clip, made[1].clip) and not torch.equal(made[0].clip, made[2].clip)
    assert made[0].passes == {"control": 2}
    assert peer.seams == Seams((16,), tuple(range(cut, cut + 1) for cut in (4, 8, 12, 16)))


def tiny(folder):
    """Overrides that put small untrained networks in the place of the embedded ones."""
    words = [f"experts.{role}.model={folder / role}" for role in ("control", "spatial", "temporal")]
    return [
        *words,
        *(
            f"experts.{role}.shared={folder / 'shared'}"
            for role in ("control", "spatial", "temporal")
        ),
    ]


def test_the_command_measures_in_shards_and_draws_what_all_have_made(
    tmp_path, tiny_networks, capsys
):
    rows = ("renders", "confiner_long", PEERS[0])
    arguments = [
        "--rows",
        *rows,
        "--prompts",
        "2",
        "--seeds",
        "1",
        "--frames",
        "20",
        "--out",
        str(tmp_path),
    ]
    arguments += [f"--override={word}" for word in tiny(tiny_networks)]
    for shard in ("2/2", "1/2", "1/1"):
        assert ablate_long.main([*arguments, "--shard", shard]) == 0
    with (tmp_path / "results.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert sorted(line["row"] for line in lines) == sorted(2 * rows)
    assert {line["passes_control"] for line in lines} == {"0", "8"}  # of two structures
    text = (tmp_path / "summary.md").read_text()
    assert (
        "| confiner_long | 2 (2 / 0) |" in text
        and "ablate_long.py" in text
        and "evaluate" not in text
    )
    assert (tmp_path / "long.png").exists() and {f"{row}.png" for row in rows} <= {
        path.name for path in (tmp_path / "seams").iterdir()
    }
    assert capsys.readouterr().err.count("· ") == 6  # the third call had nothing to do


def test_a_plot_of_any_results_has_a_place_for_all(tmp_path):
    nothing = dict.fromkeys(METRICS, "nan") | {"motion": "rising", "seconds_per_frame": "nan"}
    wild = dict.fromkeys(METRICS, "-1234.5") | {"motion": "pulsing", "seconds_per_frame": "1e3"}
    write_plot(tmp_path / "long.png", {row: [nothing, wild] for row in ROWS})
    write_plot(tmp_path / "none.png", {})
    assert (tmp_path / "long.png").stat().st_size < 200_000


def test_lengths_are_measured_once_each_and_the_table_has_what_a_further_frame_costs(
    tmp_path, monkeypatch
):
    made = []

    def pretended(num_frames, overrides):
        made.append(num_frames)
        seconds = {"total": 10 + 0.5 * num_frames}
        return RunRecord(seconds=seconds, peak_memory_bytes=3 * 2**20)

    monkeypatch.setattr(lengths, "run", pretended)
    for chosen in (["16"], ["16", "64"]):
        assert ablate_long.main(["--lengths", *chosen, "--out", str(tmp_path)]) == 0
    assert made == [16, 64]
    assert "| 64 | 1 | 42.0 | 0.656 | 3 | 0.500 |" in (tmp_path / "lengths.md").read_text()


@pytest.mark.slow
def test_a_length_is_measured_by_the_command_itself():
    record = lengths.run(2, ["scheduler.refinement.num_inference_steps=0"])
    assert record.seconds["total"] > 0 and record.peak_memory_bytes > 2**20
