"""The rooms of the package are import walls: read from the imports of every file."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import confiner_cli

PACKAGE = Path(confiner_cli.__file__).parent
TOP = {"__init__", "__main__", "cli", "api", "errors", "files", "progress"}
FILES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}

GROUND = {"errors", "files", "progress"}
BELOW = {
    "method": set(),
    "weights": set(),
    "media": set(),
    "experts": {"weights", "method"},
    "config": {"experts", "weights", "method", "media"},
    "costs": {"config", "experts", "method"},
    "measures": {"media"},
    "runs": {"costs", "measures", "config", "experts", "media", "weights", "method"},
    "gallery": {"runs", "config", "media"},
    "sweeps": {"runs", "config", "experts"},
    "launchers": {"runs", "costs", "config", "experts"},
    "commands": {
        "gallery",
        "launchers",
        "sweeps",
        "runs",
        "costs",
        "measures",
        "config",
        "experts",
        "weights",
    },
}
"""What a room may import, beside itself and the ground."""
OWNERS = {
    "diffusers": {"experts"},
    "peft": {"experts"},
    "accelerate": {"experts"},
    "tokenizers": {"experts"},
    "transformers": {"experts"},
    "huggingface_hub": {"weights"},
    "imageio_ffmpeg": {"media"},
    "PIL": {"media"},
    "hydra": {"config", "launchers"},
    "omegaconf": {"config", "launchers"},
    "cv2": {"measures"},
    "numpy": {"measures"},
    "jinja2": {"gallery"},
    "rich": {"progress", "commands"},
    "filelock": {"runs", "sweeps"},
    "cloudpickle": {"launchers"},
    "joblib": {"launchers"},
    "ray": {"launchers", "runs"},
    "submitit": {"launchers"},
}
"""Which rooms know a foreign package."""


def room(name: str) -> str:
    """The room that a file or a module lies in; a file at the top is one of its own."""
    return name.partition(".")[0]


def imported(name: str) -> set[str]:
    """Every module that a file imports anywhere, dotted; our own without the package's name."""
    found = set()
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively"
            # `from package import module` names a module too.
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {node.module} | {
                one for one in inner if one.removeprefix("confiner_cli.") in FILES
            }
    return {module.removeprefix("confiner_cli.") for module in found if module != "confiner_cli"}


def ours(name: str) -> set[str]:
    """The rooms, and files at the top, that a file imports of."""
    rooms = set(BELOW) | TOP
    return {room(module) for module in imported(name) if room(module) in rooms} - {room(name)}


def foreign(name: str) -> set[str]:
    """The packages of others that a file imports."""
    tops = {room(module) for module in imported(name)}
    return tops - set(BELOW) - TOP - sys.stdlib_module_names - {"__future__"}


def test_at_the_top_is_nothing_but_what_every_room_needs_and_who_needs_every_room():
    assert {name for name in FILES if "." not in name} == TOP
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert folders == set(BELOW)


@pytest.mark.parametrize("name", sorted(name for name in FILES if room(name) in BELOW))
def test_imports_point_downwards_only(name):
    assert ours(name) <= BELOW[room(name)] | GROUND


@pytest.mark.parametrize("name", sorted(GROUND))
def test_the_ground_stands_on_nothing_but_itself(name):
    assert ours(name) <= GROUND


@pytest.mark.parametrize("package", OWNERS)
def test_a_foreign_package_is_known_in_its_rooms_and_nowhere_else(package):
    users = {room(name) for name in FILES if package in foreign(name)}
    assert users and users <= OWNERS[package]


@pytest.mark.parametrize("name", sorted(name for name in FILES if room(name) == "method"))
def test_the_method_knows_torch_at_most(name):
    assert foreign(name) <= {"torch"}


def test_of_weights_only_the_tensors_need_torch():
    assert {name for name in FILES if room(name) == "weights" and "torch" in foreign(name)} == {
        "weights.tensors"
    }


def test_no_file_imports_itself_by_way_of_others():
    def below(name, seen=()):
        assert name not in seen, f"a circle: {' -> '.join((*seen, name))}"
        used = {each for each in imported(name) if each in FILES}
        for each in used:
            if each not in known:
                below(each, (*seen, name))
        known.add(name)

    known: set[str] = set()
    for name in FILES:
        below(name)
    assert known == set(FILES)


def test_no_file_asks_which_expert_it_has():
    classes = {
        node.name
        for tree in TREES.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    asked_of = {"Expert", "Guided", "Denoiser", "Prompted", "Coherent", "AnchoredDenoiser"}
    assert asked_of <= classes
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "isinstance":
                asked = {part.id for part in ast.walk(node.args[1]) if isinstance(part, ast.Name)}
                assert not asked & asked_of, f"{name}, line {node.lineno}"


@pytest.mark.parametrize(
    "arguments", [[], ["--help"], ["generate", "--help"], ["--version"]], ids=" ".join
)
def test_help_imports_neither_torch_nor_hydra(arguments):
    heavy = {"torch", "hydra", "omegaconf", "diffusers", "numpy"}
    imports = modules_after(arguments, heavy)
    assert imports == ""


def test_a_plan_imports_neither_torch_nor_what_talks_to_the_hub_or_draws_pictures():
    unneeded = {"torch", "diffusers", "transformers", "numpy", "PIL", "jinja2"}
    assert modules_after(["plan"], unneeded | {"httpx", "httpx2", "requests"}) == ""


def modules_after(arguments: list[str], names: set[str]) -> str:
    """Which of these modules a command has imported, after it has ended well."""
    program = (
        "import sys; from confiner_cli.cli import main; code = main(sys.argv[1:]);"
        f"print(*sorted({names!r} & set(sys.modules)), file=sys.stderr, end=''); sys.exit(code)"
    )
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr
