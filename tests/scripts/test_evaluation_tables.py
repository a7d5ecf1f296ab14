"""The evaluation's tables, plots and pictures, on clips whose differences are known."""

import random
import re
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path

import pytest
import torch
from PIL import Image

from confiner_cli.config.hydra import settings_with
from evaluation import pictures, plots
from evaluation.measures import DISTANCE, FLICKER, MAIN, MOTION
from evaluation.pages import write_pages, write_pictures
from evaluation.pictures import SHOWN, change
from evaluation.plots import FAMILIES, REFERENCE, TE_LINES, compared, front
from evaluation.prompts import draw
from evaluation.report import NotMeasuredError, report
from evaluation.results import ROLES, Results
from evaluation.rows import FLOOR, HELD_OUT, ROWS, STEADY, TE, TES, te_row
from evaluation.run import evaluate
from evaluation.sample import NUMBERS, Bootstrap, Sample, Samples, operations_a_pass
from evaluation.sections import HELD_OUT_SECTIONS, SECTIONS, Section
from evaluation.statistics import Moments, draws
from evaluation.summary import summary
from evaluation.tasks import Made, tasks
from world.render import render

PROMPTS = tuple(islice(draw(0), 12))
ROWS_MADE = {"coordinated": 0.002, "two_visits": 0.002, "spatial_only": 0.01, "control_4": 0.002}
"""By row, how much every pixel of a render is shaken; a row's noise is its own."""


def shaken(row, amount):
    def make(prompt, seed):
        noise = torch.randn(
            16, 3, 64, 64, generator=torch.Generator().manual_seed(100 * seed + len(row))
        )
        clip = (
            render(prompt.scene) + (amount + 0.004 * prompt.number) * noise
        )  # later prompts are harder for all
        if row == "control_4":
            clip = clip.flip(0)  # whatever moves moves the other way
        return Made(clip.clamp(0, 1), {"spatial": 3}, {"spatial": 6, "temporal": 2})

    return lambda: make


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    found = Results(tmp_path_factory.mktemp("results"), "x")
    makers = {row: shaken(row, amount) for row, amount in ROWS_MADE.items()}
    evaluate(makers, tasks(dict.fromkeys(ROWS_MADE, "1"), PROMPTS, 1), found)
    evaluate({"naive": shaken("naive", 0.1)}, tasks({"naive": "1"}, PROMPTS[:1], 1), found)
    return found


@pytest.fixture(scope="module", autouse=True)
def _few_draws():
    """Intervals from 300 draws instead of 2,000 say the same of what is known here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("evaluation.sample.draws", partial(draws, replicates=300))
        yield


@pytest.fixture(scope="module")
def samples(results):
    return Samples.of(results, tasks(dict.fromkeys((*FLOOR, *ROWS), "1"), PROMPTS, 1))


def cells(text, row, after):
    """A row's cells in the first table after a line."""
    line = next(
        line for line in text[text.index(after) :].splitlines() if line.startswith(f"| {row} |")
    )
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_rows_are_called_different_where_they_are_and_nowhere_else(samples):
    text = summary(samples, [Section("Ways", tuple(ROWS_MADE), "coordinated")])
    differences = {
        row: cells(text, row, "Differences to `coordinated`")
        for row in ROWS_MADE
        if row != "coordinated"
    }
    assert differences["spatial_only"][2].startswith("**")  # flicker
    assert differences["control_4"][5].startswith("**-")  # motion
    assert not any(cell.startswith("**") for cell in differences["two_visits"])
    assert not differences["spatial_only"][5].startswith("**")


def test_a_share_that_is_all_right_is_as_sure_as_its_prompts_are_many(samples, made_up):
    few = MOTION.of(samples.rows["coordinated"], samples.bootstrap)
    many = Sample(
        64, {"motion": torch.ones(64, dtype=torch.float64)}, samples.rows["coordinated"].features
    )
    bootstrap = Bootstrap(draws(64), draws(66), samples.bootstrap.frechet)
    found = MOTION.of(many, bootstrap)
    assert few.estimate == few.high == found.estimate == found.high == 1
    assert few.low < found.low < 0.97


@pytest.mark.parametrize(("wrong", "different"), [(1, False), (3, False), (12, True)])
@pytest.mark.parametrize("place", [0, 20, 40])
def test_shares_differ_only_where_enough_prompts_say_so_wherever_they_are(
    samples, wrong, different, place
):
    right = torch.ones(64, dtype=torch.float64)
    worse = right.clone()
    worse[place : place + wrong] = 0.5
    features = samples.rows["coordinated"].features
    bootstrap = Bootstrap(draws(64), draws(66), samples.bootstrap.frechet)
    rows = [Sample(128, {"motion": values}, features) for values in (worse, right)]
    found = MOTION.difference(*rows, bootstrap)
    assert found.apart == different and found.estimate == -wrong / 128
    assert not MOTION.difference(rows[0], rows[0], bootstrap).apart


def test_every_number_of_a_row_has_its_interval(samples):
    text = summary(samples, [Section("Ways", tuple(ROWS_MADE), "coordinated")])
    found = cells(text, "spatial_only", "## Ways")
    assert found[:4] == ["spatial_only", "12", "0 + 3 + 0", "0 + 6 + 2"]
    assert len(found) == 5 + len(MAIN)
    assert all(re.fullmatch(r"\d+\.\d+ \(-?\d+\.\d+ to \d+\.\d+\)", cell) for cell in found[5:])


def test_a_row_that_lacks_clips_is_named_and_not_compared(samples):
    text = summary(samples, SECTIONS)
    assert "Not finished: naive (1 clips)" in text
    assert "| naive |" not in text


def test_operations_are_those_of_the_passes(samples):
    sample = samples.rows["coordinated"]
    assert sample.operations == pytest.approx(
        6 * operations_a_pass("spatial") + 2 * operations_a_pass("temporal")
    )
    assert all(operations_a_pass(role) > 1e9 for role in ROLES)


def test_every_row_is_in_a_table_with_its_reference_and_only_rows_are():
    assert {row for section in SECTIONS for row in section.rows} == {*FLOOR, *ROWS}
    for section in (*SECTIONS, *HELD_OUT_SECTIONS):
        assert section.reference in section.rows
        assert len(section.rows) == len(set(section.rows))
    assert {row for section in HELD_OUT_SECTIONS for row in section.rows} == set(HELD_OUT)


def test_the_preset_steady_is_the_row_that_it_is_told_by_but_for_guidance_and_its_name():
    preset, row = (settings_with(ROWS[name]).scheduler for name in ("steady", STEADY))
    guided = replace(
        preset, name=row.name, description=row.description, guidance_interval=row.guidance_interval
    )
    assert guided == row
    assert list(preset.guidance_interval) == [0.0, 1.0] != list(row.guidance_interval)


def test_every_row_is_drawn_once_in_one_of_the_plots():
    drawn = [row for family in FAMILIES for row in family.rows if row in ROWS]
    assert sorted(drawn) == sorted({*ROWS} - {*TE})
    assert all(set(family.named) <= set(family.rows) for family in FAMILIES)
    lines = {te_row(row, te, control_steps) for _, row, control_steps, _ in TE_LINES for te in TES}
    assert lines >= {*TE} and lines <= {*ROWS}


def test_a_front_is_what_nothing_else_beats():
    rng = random.Random(0)
    points = {str(number): (rng.randrange(12), rng.randrange(12)) for number in range(60)}

    def beaten(name):
        x, y = points[name]
        return any(a <= x and b <= y and (a < x or b < y) for a, b in points.values())

    kept = front(points)
    assert set(kept) == {name for name in points if not beaten(name)}
    assert [points[name] for name in kept] == sorted(points[name] for name in kept)


def test_a_plot_shows_the_interval_that_tells_a_row_from_the_reference(samples):
    own = FLICKER.of(samples.rows["spatial_only"], samples.bootstrap)
    shown = compared(FLICKER, "spatial_only", samples)
    assert shown.estimate == own.estimate and own.low < shown.low < shown.high < own.high
    at_reference = compared(DISTANCE, REFERENCE, samples)
    assert at_reference.low == pytest.approx(at_reference.high)


def test_plots_are_drawn_of_whatever_rows_are_there_the_same_every_time(samples, tmp_path):
    for write, size in ((plots.write_operations, (1200, 1200)), (plots.write_te, (1300, 400))):
        write(tmp_path / "first.png", samples)
        write(tmp_path / "second.png", samples)
        assert (tmp_path / "first.png").read_bytes() == (tmp_path / "second.png").read_bytes()
        with Image.open(tmp_path / "first.png") as picture:
            assert picture.size == size
            assert len(picture.convert("RGB").getcolors(1 << 20)) > 20


@pytest.fixture(scope="module")
def made_up():
    """All rows, with numbers that were drawn by lot."""
    generator = torch.Generator().manual_seed(0)

    def sample():
        columns = {
            name: torch.rand(4, generator=generator, dtype=torch.float64) for name in NUMBERS
        }
        columns |= {
            f"passes_{role}": torch.randint(1, 9, (1,), generator=generator).double()
            for role in ROLES
        }
        return Sample(8, columns, Moments.of(list(torch.randn(4, 60, 48, generator=generator))))

    reference = Moments.of(list(torch.randn(4, 60, 48, generator=generator)))
    return Samples({row: sample() for row in (*FLOOR, *ROWS)}, {}, Bootstrap.to(reference))


def without_numbers(text):
    """Intervals, percentages and counts that are put in; a number that somebody has typed stays."""
    text = re.sub(r"-?\d+\.\d+ \(-?\d+\.\d+ to -?\d+\.\d+\)", "#", text.replace("**", ""))
    text = re.sub(r"\d+ %|\d+ clips|\d+ prompts|\d+ of \d+|\d+ passes", "#", text)
    return re.sub(
        r"\| [\d.]+( \+ [\d.]+)* (?=\|)",
        "| # ",
        re.sub(r"\| [\d.]+( \+ [\d.]+)* (?=\|)", "| # ", text),
    )


def test_the_page_in_docs_is_the_template_with_numbers_put_in(made_up):
    docs = Path(__file__).parents[2] / "docs"
    page = (docs / "results.md").read_text(encoding="utf-8")
    told = page[page.index("Command: ") :]
    assert without_numbers(page) == without_numbers(
        report(made_up, made_up, told).removesuffix("\n")
    )
    for target in re.findall(r"\]\(([^)#]+)\)", page):
        assert (docs / target).is_file(), target


def test_every_number_of_the_page_is_in_the_tables():
    docs = Path(__file__).parents[2] / "docs"
    page, tables = (
        (docs / name).read_text(encoding="utf-8") for name in ("results.md", "results_tables.md")
    )
    told = [
        line
        for line in page[page.index("## In short") : page.index("## The paper")].splitlines()
        if "| `" in line
    ]
    numbers = [number for line in told for number in re.findall(r"\d+\.\d+ \(.*?\)", line)]
    assert len(told) > 10 and len(numbers) == 4 * len(told)
    assert [number for number in numbers if number not in tables] == []


def test_a_page_about_a_row_that_was_not_measured_is_not_written(samples, tmp_path):
    with pytest.raises(NotMeasuredError, match="control_100"):
        write_pages(tmp_path, samples, samples, "Command: none")
    assert not any(tmp_path.iterdir())


def test_change_is_amplified_and_black_where_nothing_changes():
    clip = torch.full((5, 3, 8, 8), 0.5)
    clip[::2, 0, 2, 3] += 0.002  # red, at one place
    shown = change(clip)
    assert shown[2, 3].tolist() == [round(255 * pictures.AMPLIFIED * 0.002), 0, 0]
    shown[2, 3] = 0
    assert shown.sum() == 0


def test_all_that_is_shown_is_drawn_with_the_same_prompt_and_seed(samples, tmp_path):
    asked = []

    def maker(row):
        def make(prompt, seed):
            asked.append((row, prompt, seed))
            return Made(render(prompt.scene))

        return lambda: make

    write_pictures(tmp_path, samples, {row: maker(row) for row in (*FLOOR, *ROWS)}, PROMPTS[1])
    assert [row for row, _, _ in asked] == list(SHOWN)
    assert len({(prompt.text, seed) for _, prompt, seed in asked}) == 1
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"results_operations.png", "results_rows.jpg", "results_te.png"}
