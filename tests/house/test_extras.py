"""Each extra can be installed beside the tested set: no need of it is left open or excluded.

What a package needs is read from its own description, where it is installed.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

CHECKOUT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
OURS = canonicalize_name(PROJECT["name"])
PINS = {
    canonicalize_name(name): Version(version)
    for name, _, version in (
        line.partition("==")
        for line in (CHECKOUT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if "==" in line
    )
}


def needs(name: str, extras: frozenset[str]) -> Iterator[Requirement]:
    """What a package needs here with these extras."""
    if name == OURS:
        stated = [*PROJECT["dependencies"], *(each for extra in extras for each in EXTRAS[extra])]
    else:
        stated = distribution(name).requires or []
    for requirement in map(Requirement, stated):
        chosen = extras or {""}
        if requirement.marker is None or any(
            requirement.marker.evaluate({"extra": extra}) for extra in chosen
        ):
            yield requirement


def walked(extra: str) -> Iterator[tuple[str, Requirement]]:
    """All requirements behind an extra of ours, however far, and whose they are."""
    left, seen = [(OURS, frozenset({extra} if extra else ()))], set()
    while left:
        name, extras = left.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        for requirement in needs(name, extras):
            yield name, requirement
            left.append((canonicalize_name(requirement.name), frozenset(requirement.extras)))


@pytest.mark.parametrize("extra", ["", *EXTRAS])
def test_an_extra_is_pinned_whole_and_nothing_in_it_excludes_a_pin(extra):
    try:
        found = list(walked(extra))
    except PackageNotFoundError as error:
        pytest.fail(f"{error.name} is not installed: make sets up .venv")
    for whose, requirement in found:
        name = canonicalize_name(requirement.name)
        if name != OURS:
            assert name in PINS, f"{requirement} of {whose} is not in constraints.txt"
            assert requirement.specifier.contains(PINS[name], prereleases=True), (
                f"{whose} needs {requirement}, constraints.txt has {PINS[name]}"
            )
            assert Version(distribution(name).version).public == PINS[name].public, name


def test_the_tests_have_every_extra():
    assert {extra for _, one in walked("dev") for extra in one.extras} >= EXTRAS.keys() - {"dev"}


def test_an_excluded_pin_would_be_found(monkeypatch):
    monkeypatch.setitem(EXTRAS, "bad", ["ray>=2.60", "cloudpickle<3"])
    with pytest.raises(AssertionError, match="confiner needs cloudpickle<3"):
        test_an_extra_is_pinned_whole_and_nothing_in_it_excludes_a_pin("bad")
