"""What README says of the method and of the rooms is what the code does and has."""

import re
from pathlib import Path

import torch
from support.toy_experts import Networked

import confiner_cli
from confiner_cli.method.options import RefinementOptions
from confiner_cli.method.refinement import PATTERNS, refine, refinement_visits
from confiner_cli.method.schedule import CLEAN, linear, scaled_linear

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SHAPE = (1, 4, 3, 8, 8)


def section(title):
    return re.search(rf"^### {title}\n(.*?)^#", README, re.DOTALL | re.MULTILINE)[1]


def first_cells(text):
    """What stands in backticks in the first column of a table."""
    return re.findall(r"^\| `([^`]+)`", text, re.MULTILINE)


def noises():
    generator = torch.Generator().manual_seed(2)
    return lambda *_: torch.randn(SHAPE, generator=generator)


class Model:
    """A denoiser as the eight lines ask it."""

    def __init__(self, denoiser):
        self.denoiser = denoiser

    def __call__(self, x, t):
        found = self.denoiser(x, t)
        return found.clean, found.noise


def test_the_eight_lines_of_the_readme_make_what_the_walk_makes():
    (code,) = re.findall(r"```text\n(x = .*?)```", README, re.DOTALL)
    assert len(code.splitlines()) == 8
    spatial, temporal = Networked(scaled_linear()), Networked(linear())
    draft = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1))
    found = {
        "sample": lambda model, noise: draft,
        "randn": noises(),
        "level": lambda model, t: model.denoiser.schedule.level(t) if model else CLEAN,
        "control": None,
        "spatial": Model(spatial),
        "temporal": Model(temporal),
        "clean": (None, 0),
    }
    exec(code, found)
    fresh = noises()
    fresh()  # the draft's
    visits = refinement_visits(RefinementOptions(), spatial, temporal)
    *_, last = refine(draft, visits, fresh)
    assert (found["x"] - last.x_t).norm() < 1e-6 * last.x_t.norm()


def test_every_pattern_and_scheduler_is_said_to_be_the_papers_or_ours():
    told = section("What is the paper's, what is ours")
    patterns = re.findall(r"`(\w+)`", re.search(r"^\| patterns .*$", told, re.MULTILINE)[0])
    assert sorted(patterns) == sorted(PATTERNS)
    schedulers = re.findall(r"`(\w+)`", re.search(r"^\| schedulers .*$", told, re.MULTILINE)[0])
    files = {path.stem for path in (ROOT / "configs" / "scheduler").glob("*.yaml")}
    assert sorted(schedulers) == sorted(files)


def test_the_rooms_of_the_readme_are_the_packages_folders():
    rooms = {
        path.name
        for path in Path(confiner_cli.__file__).parent.iterdir()
        if path.is_dir() and path.name not in ("__pycache__", "configs")
    }
    told = [name.rstrip("/") for name in first_cells(section("Rooms")) if name != "confiner_cli/"]
    assert len(told) == len(set(told))
    assert set(told) == rooms
