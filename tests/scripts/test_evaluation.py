"""The evaluation, proven on renders: what they show is known, and so is every injury to them."""

import csv
import io
import random
from collections import Counter
from dataclasses import replace
from functools import cache
from itertools import islice

import pytest
import torch

import evaluate_embedded
from confiner_cli.config.hydra import settings_with
from confiner_cli.config.resolve import resolve
from evaluation.build_judge import accuracy, unseen_scenes
from evaluation.clips import levels
from evaluation.floor import reconstructor
from evaluation.judge import judge
from evaluation.lines import OtherResultsError
from evaluation.makers import rendered
from evaluation.prompts import draw, draw_held_out
from evaluation.results import COLUMNS, Results
from evaluation.rows import ROWS
from evaluation.run import evaluate
from evaluation.signs import signs, swapped
from evaluation.tasks import Made, tasks
from evaluation.tracking import backdrop
from world.render import path, render, render_frame
from world.scene import ATTRIBUTES, BACKGROUNDS, COLOURS, MOTIONS, SHAPES, held_out, placed

PROMPTS = tuple(islice(draw(0), 3))


@pytest.mark.parametrize("motion", MOTIONS)
def test_tracking_finds_motion_and_place_on_every_background(motion):
    rng = random.Random(motion)
    for background in BACKGROUNDS:
        scene = placed((rng.choice(SHAPES), rng.choice(COLOURS), motion, background), rng)
        verdict = judge(levels(render(scene)))
        assert (verdict.fit.motion, verdict.track.background) == (motion, background), scene
        assert (verdict.fit.fitted - path(scene)).abs().max() < 1 / 64, scene
        assert (path(verdict.scene) - path(scene)).abs().max() < 1 / 64, scene


@pytest.mark.parametrize(
    ("motion", "backwards"),
    [("moving left", "moving right"), ("rising", "falling"), ("standing still", "standing still")],
)
def test_a_clip_played_backwards_moves_the_other_way_and_a_frozen_one_not_at_all(motion, backwards):
    clip = render(placed(("star", "purple", motion, "sea"), random.Random(1)))
    assert judge(clip.flip(0)).fit.motion == backwards
    assert judge(clip[:1].expand(16, -1, -1, -1)).fit.motion == "standing still"


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_a_clip_without_an_object_is_lost_and_never_all_right(background):
    scene = placed(("circle", "red", "standing still", background), random.Random(2))
    verdict = judge(backdrop(background, 64).expand(16, -1, -1, -1))
    assert verdict.fit.motion == "lost"
    assert verdict.right(scene)["all"] == 0


@pytest.mark.parametrize("seen", ["rendered", "reconstructed"])
def test_the_judge_knows_held_out_combinations_in_placements_of_their_own(seen):
    scenes = random.Random(7).sample(unseen_scenes(1), 16)
    change = reconstructor() if seen == "reconstructed" else levels
    shares = accuracy(scenes, change)
    assert min(shares.values()) >= 0.98, shares


@pytest.mark.parametrize("shake", [1.0, 3.0])
def test_jitter_is_how_far_the_object_is_from_its_path(shake):
    scene = placed(("square", "yellow", "moving right", "grass"), random.Random(3))
    beside = shake / 100 * torch.randn(16, 2, generator=torch.Generator().manual_seed(0))
    frames = [
        render_frame(replace(scene, x=scene.x + dx, y=scene.y + dy), number)
        for number, (dx, dy) in enumerate(beside.tolist())
    ]
    verdict = judge(torch.stack(frames))
    assert verdict.fit.motion == "moving right"
    assert verdict.fit.jitter == pytest.approx(shake * 2**0.5, rel=0.25)


def test_prompts_are_balanced_repeatable_and_flag_what_was_held_out():
    prompts = list(islice(draw(5), 120))
    assert prompts[:7] == list(islice(draw(5), 7)) != list(islice(draw(6), 7))
    for name, values in ATTRIBUTES.items():
        counts = Counter(getattr(prompt.scene, name) for prompt in prompts)
        assert counts == dict.fromkeys(values, 120 // len(values))
    assert [prompt.held_out for prompt in prompts] == [
        prompt.scene.combination in held_out() for prompt in prompts
    ]
    assert 0 < sum(prompt.held_out for prompt in prompts) < 40


def test_held_out_prompts_are_of_all_combinations_that_no_training_saw_before_any_comes_again():
    prompts = list(islice(draw_held_out(3), len(held_out())))
    assert {prompt.scene.combination for prompt in prompts} == held_out()
    assert all(prompt.held_out for prompt in prompts)
    assert prompts[:5] == list(islice(draw_held_out(3), 5)) != list(islice(draw_held_out(4), 5))


class Counting:
    """A row that renders what the prompt asks for, and remembers the seeds it was called with."""

    def __init__(self):
        self.seeds = []

    def __call__(self):
        def make(prompt, seed):
            self.seeds.append(seed)
            return Made(render(prompt.scene), {"spatial": 2}, {"spatial": 4})

        return make


def without_seconds(path):
    lines = list(csv.DictReader(io.StringIO(path.read_text())))
    assert tuple(lines[0]) == COLUMNS
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


@pytest.mark.parametrize("lost_bytes", [1, 5, 60])
def test_after_a_kill_only_the_torn_line_is_made_again(tmp_path, lost_bytes):
    todo = tasks({"a": "1", "b": "1"}, PROMPTS, 1)
    evaluate({"a": Counting(), "b": Counting()}, todo, Results(tmp_path, "x"))
    path = tmp_path / "results.csv"
    whole = without_seconds(path)
    path.write_bytes(path.read_bytes()[:-lost_bytes])
    first, second = Counting(), Counting()
    evaluate({"a": first, "b": second}, todo, Results(tmp_path, "x"))
    assert without_seconds(path) == whole
    assert (first.seeds, second.seeds) == (
        [],
        [PROMPTS[-1].number],
    )  # all rows of a prompt, then the next prompt
    assert Results(tmp_path, "x").features_of(todo[-1].key).shape[0] == 16


def test_clips_made_with_other_settings_are_not_taken_for_a_rows_own(tmp_path):
    first, second = Counting(), Counting()
    evaluate({"a": first}, tasks({"a": "1"}, PROMPTS, 1), Results(tmp_path, "x"))
    evaluate({"a": second}, tasks({"a": "2"}, PROMPTS, 1), Results(tmp_path, "x"))
    assert first.seeds == second.seeds == [prompt.number for prompt in PROMPTS]


@pytest.mark.parametrize(
    "override", ["scheduler.refinement.te=101", "experts.temporal.guidance_scale=1.5"]
)
def test_what_a_row_is_made_with_follows_its_settings_and_nothing_else(override):
    mark = evaluate_embedded.made_with("confiner_9", ())
    assert (
        evaluate_embedded.made_with(
            "confiner_9",
            (
                "seed=4",
                "output.metadata=false",
            ),
        )
        == mark
    )
    assert evaluate_embedded.made_with("confiner_9", (override,)) != mark
    assert evaluate_embedded.made_with("confiner_18", ()) != mark


composed = cache(settings_with)


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS)
def test_every_row_is_something_that_confiner_can_make(row):
    assert resolve(composed(ROWS[row])).num_frames == 16


@pytest.mark.slow
def test_no_two_rows_are_made_alike(monkeypatch):
    monkeypatch.setattr(evaluate_embedded, "settings_with", lambda words: composed(tuple(words)))
    marks = Counter(evaluate_embedded.made_with(row, ()) for row in ROWS)
    assert marks.most_common(1)[0][1] == 1


@pytest.fixture
def few_rows(monkeypatch):
    """The command tells of all rows: of these, as to compose the settings of all takes a while."""
    monkeypatch.setattr(evaluate_embedded, "ALL_ROWS", ("renders", "control_4"))


def test_two_shards_make_all_clips_once_and_in_one_file(tmp_path, few_rows):
    for part in ("1/2", "2/2"):
        assert (
            evaluate_embedded.main(
                ["--rows", "renders", "--prompts", "4", "--shard", part, "--out", str(tmp_path)]
            )
            == 0
        )
    lines = list(csv.DictReader(io.StringIO((tmp_path / "results.csv").read_text())))
    assert sorted(line["seed"] for line in lines) == ["0", "1", "2", "3"]
    assert "| renders | 4 |" in (tmp_path / "summary.md").read_text()


def test_results_of_other_weights_are_not_mixed(tmp_path):
    Results(tmp_path, "weights 1")
    with pytest.raises(OtherResultsError, match="other weights"):
        Results(tmp_path, "weights 2")


def test_the_command_measures_an_expert_beside_renders(tmp_path, few_rows, tiny_networks, capsys):
    overrides = [
        f"--override=experts.{role}.model={tiny_networks / role}" for role in ("control", "spatial")
    ]
    overrides += [
        f"--override=experts.{role}.shared={tiny_networks / 'shared'}"
        for role in ("control", "spatial")
    ]
    arguments = [
        "--rows",
        "renders",
        "control_4",
        "--prompts",
        "2",
        "--out",
        str(tmp_path),
        *overrides,
    ]
    assert evaluate_embedded.main(arguments) == 0
    lines = list(csv.DictReader(io.StringIO((tmp_path / "results.csv").read_text())))
    columns = ("row", "evaluations_control", "passes_spatial")
    found = [tuple(line[column] for column in columns) for line in lines]
    assert found == [("renders", "0", "0"), ("control_4", "4", "0")] * 2
    assert [line["all"] for line in lines[::2]] == ["1", "1"]
    summary = (tmp_path / "summary.md").read_text()
    assert "| control_4 | 2 |" in summary and "Command:" in summary
    assert "4/4 control_4" in capsys.readouterr().err


def test_signs_are_right_only_where_both_directions_follow_the_word(tmp_path):
    def leftwards():
        return lambda prompt, seed: Made(
            render(placed(("heart", "red", "moving left", "sand"), random.Random(0)))
        )

    results = Results(tmp_path, "x")
    rows = {"truth": "1", "deaf": "1"}
    evaluate({"truth": rendered, "deaf": leftwards}, tasks(rows, swapped(PROMPTS[:2]), 1), results)
    table = signs(results, rows, PROMPTS[:2], 1)
    assert "| truth | 2 | 1.000 | 1.000 |" in table
    assert "| deaf | 2 | 0.000 | 0.000 |" in table
