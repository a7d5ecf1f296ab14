"""The walls between the rooms of the package, read from its imports: a room is a folder, or a file at the top."""

from __future__ import annotations

import ast
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import confiner_cli

PACKAGE = Path(confiner_cli.__file__).parent
FILES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}

FLOORS = (
    {"__main__", "__init__", "cli", "api", "commands"},
    {"runs", "costs", "gallery"},
    {"config"},
    {"experts", "media"},
    {"weights", "method"},
    {"files", "errors", "progress"},
)
"""From the top; a room imports from lower floors only, and from these rooms of its own."""
BESIDE = {
    ("__main__", "cli"), ("__init__", "api"), ("cli", "commands"), ("runs", "costs"), ("gallery", "runs"),
    ("files", "errors"), ("progress", "errors"),
}  # fmt: skip
OWNERS = {
    "diffusers": {"experts"}, "transformers": {"experts"}, "peft": {"experts"},
    "imageio_ffmpeg": {"media"}, "huggingface_hub": {"weights"}, "jinja2": {"gallery"},
    "hydra": {"config"}, "omegaconf": {"config"}, "rich": {"progress", "commands"},
}  # fmt: skip
"""Which rooms alone know a foreign package."""
WITHOUT_TORCH = {"config", "costs", "weights", "gallery", "files", "errors", "progress", "cli"}
EXCEPT = {"weights.tensors"}


def room(name: str) -> str:
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
            found |= {node.module} | {one for one in inner if ours(one)}
    return found


def ours(module: str) -> str | None:
    """The file of our package that a module is, if it is one."""
    inside = module.removeprefix("confiner_cli.")
    found = {inside, f"{inside}.__init__"} & set(FILES) if inside != module else set()
    return min(found, default=None)


def foreign(name: str) -> set[str]:
    """The packages of others that a file imports from."""
    return {module.partition(".")[0] for module in imported(name)} - {"confiner_cli"}


def used(name: str) -> set[str]:
    """The package's own files that a file imports."""
    return {file for module in imported(name) if (file := ours(module))} - {name}


def floor(name: str) -> int:
    (found,) = (number for number, rooms in enumerate(FLOORS) if room(name) in rooms)
    return found


def test_every_file_is_in_a_room():
    rooms = set().union(*FLOORS)
    assert {room(name) for name in FILES} - {"embedded"} == rooms


@pytest.mark.parametrize("name", FILES)
def test_imports_go_down(name):
    wrong = [
        file
        for file in used(name)
        if room(file) != room(name)
        and floor(file) <= floor(name)
        and (room(name), room(file)) not in BESIDE
    ]
    assert not wrong, f"{name} imports {', '.join(sorted(wrong))}"


def test_no_imports_go_in_a_circle():
    TopologicalSorter({name: used(name) for name in FILES}).prepare()


def test_the_method_knows_torch_and_itself_only():
    known = set().union(*(foreign(name) for name in FILES if room(name) == "method"))
    assert known - sys.stdlib_module_names == {"torch"}


@pytest.mark.parametrize("package", OWNERS)
def test_a_foreign_package_is_known_where_it_belongs_and_nowhere_else(package):
    users = {name for name in FILES if package in foreign(name)}
    assert users
    assert not {name for name in users if room(name) not in OWNERS[package]}


def test_what_a_plan_needs_knows_no_torch():
    users = {
        name for name in FILES if room(name) in WITHOUT_TORCH and "torch" in at_import_time(name)
    }
    assert users <= EXCEPT


def at_import_time(name: str) -> set[str]:
    """The packages that are imported as soon as a file is: not in functions, not for the type checker."""
    found = [node for node in TREES[name].body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = (
        [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module]
        for node in found
    )
    return {module.partition(".")[0] for modules in names for module in modules}


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
