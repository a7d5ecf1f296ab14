"""The walls between the package's layers, read from its imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import confiner_cli

PACKAGE = Path(confiner_cli.__file__).parent
FILES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}

GROUND = {"errors", "settings"}
METHOD = {
    "level", "schedule", "walk", "guidance", "noise", "timeline", "structure", "refinement", "initialization",
    "coherence", "turning", "relay", "blending", "generate",
}  # fmt: skip
EXPERTS = {name for name in FILES if name.startswith("experts.")}
LAVIE = {
    f"experts.{name}"
    for name in ("lavie", "lavie_blocks", "lavie_checkpoint", "temporal_attention")
}
DOOR = {"config", "hydra_app", "prompts"} | {name for name in FILES if name.startswith("commands.")}
GALLERY = {name for name in FILES if name.partition(".")[0] == "gallery"} | {"commands.gallery"}
COMMAND_LINE = {"__main__", "cli", "hydra_app"} | {
    name for name in FILES if name.startswith("commands.")
}


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


def tops(name: str) -> set[str]:
    """The packages that a file imports from."""
    return {
        "confiner_cli" if module in FILES else module.partition(".")[0] for module in imported(name)
    }


def ours(name: str) -> set[str]:
    """The package's own files that a file imports."""
    return imported(name) & set(FILES)


def users(*packages: str) -> set[str]:
    """The files that import any of these packages."""
    return {name for name in FILES if tops(name) & set(packages)}


def lines(names: set[str]) -> int:
    return sum(len(FILES[name].read_text(encoding="utf-8").splitlines()) for name in names)


@pytest.mark.parametrize("name", sorted(METHOD))
def test_the_method_knows_torch_and_itself_only(name):
    assert tops(name) <= {"confiner_cli", "torch"} | sys.stdlib_module_names
    assert ours(name) <= METHOD | GROUND


@pytest.mark.parametrize("name", sorted(GROUND))
def test_the_ground_knows_nothing(name):
    assert tops(name) <= sys.stdlib_module_names


def test_imports_of_the_method_point_one_way():
    def below(name, seen=()):
        assert name not in seen, f"a circle: {' -> '.join((*seen, name))}"
        return {name}.union(*(below(used, (*seen, name)) for used in ours(name)))

    assert below("generate") >= METHOD - {"guidance"}
    assert below("guidance") == {"guidance", "level", "schedule", "walk"}


def test_experts_know_the_method_and_nothing_of_the_application():
    assert EXPERTS
    for name in EXPERTS:
        assert ours(name) <= EXPERTS | METHOD | GROUND | {"experts"}, name


def test_only_experts_know_diffusers_and_transformers():
    assert users("diffusers", "transformers") <= EXPERTS
    assert EXPERTS & users("diffusers")


@pytest.mark.parametrize(
    ("package", "owners"),
    [
        ("imageio_ffmpeg", {"video", "footage"}),
        ("rich", {"progress", "hydra_app"}),
        ("hydra", DOOR),
        ("omegaconf", DOOR),
        ("jinja2", {"gallery.page"}),
    ],
)
def test_a_foreign_package_is_known_where_it_belongs_and_nowhere_else(package, owners):
    assert users(package) and users(package) <= owners


def test_nothing_below_the_command_line_imports_it():
    for name in set(FILES) - COMMAND_LINE:
        assert not ours(name) & COMMAND_LINE, name


def test_below_the_door_no_file_meets_the_config():
    """Settings are values: neither `run` nor anything that it uses, however far down, imports the door to Hydra."""
    reached, waiting = set(), {"run"}
    while waiting:
        name = waiting.pop()
        reached.add(name)
        waiting |= ours(name) - reached
    assert {"generate", "experts.loading"} <= reached
    assert not reached & {"config", "hydra_app"}


def test_no_file_asks_which_expert_it_has():
    classes = {
        node.name
        for tree in TREES.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    kinds = {name for name in classes if not name.endswith("Error")}
    assert {"Expert", "Guided", "Denoiser"} <= kinds
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in (
                "isinstance",
                "issubclass",
            ):
                asked = {part.id for part in ast.walk(node.args[1]) if isinstance(part, ast.Name)}
                assert not asked & kinds, f"{name}, line {node.lineno}"


@pytest.mark.parametrize(
    "arguments", [[], ["--help"], ["generate", "--help"], ["--version"]], ids=" ".join
)
def test_help_imports_neither_torch_nor_hydra(arguments):
    program = (
        "import sys; from confiner_cli.cli import main; code = main(sys.argv[1:]);"
        "sys.exit(code or ' '.join({'torch', 'hydra', 'omegaconf', 'diffusers', 'numpy'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "confiner" in done.stdout


def test_files_stay_small():
    assert {name for name in FILES if lines({name}) > 300} == set()
    assert lines(METHOD) < 1100
    assert lines(LAVIE) < 600  # a whole network
    assert lines(EXPERTS) < 2400
    assert lines(GALLERY) < 600
    assert lines(set(FILES) - EXPERTS - METHOD - GALLERY) < 4350
