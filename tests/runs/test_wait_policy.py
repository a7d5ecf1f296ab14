"""OpenMP is told to let threads sleep while they wait: before torch is there, by the command."""

from __future__ import annotations

import subprocess
import sys

import pytest
from support.command_line import PROMPT, SMALLEST

from confiner_cli import cli
from confiner_cli.runs.wait_policy import CHOSEN_BY, wait_asleep

SAID_WHEN_TORCH_IS_IMPORTED = """
import os, sys

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            print(os.environ.get("OMP_WAIT_POLICY"), flush=True)
            os._exit(0)

sys.meta_path.insert(0, Watch())
from confiner_cli.cli import entry
entry()
"""


def test_before_the_command_imports_torch_openmp_is_told_to_sleep(monkeypatch, tmp_path):
    for name in CHOSEN_BY:
        monkeypatch.delenv(name, raising=False)
    words = [sys.executable, "-c", SAID_WHEN_TORCH_IS_IMPORTED, "generate", PROMPT, *SMALLEST]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == "PASSIVE\n", done.stderr


def test_the_command_sets_it_first_and_its_children_inherit_it(monkeypatch):
    for name in CHOSEN_BY:
        monkeypatch.delenv(name, raising=False)
    found = []

    def main() -> int:
        found.append(subprocess.check_output(["sh", "-c", "echo $OMP_WAIT_POLICY"], text=True))
        return 0

    monkeypatch.setattr(cli, "main", main)
    with pytest.raises(SystemExit):
        cli.entry()
    assert found == ["PASSIVE\n"]


@pytest.mark.parametrize("name", CHOSEN_BY)
def test_what_a_person_says_of_waiting_stays(name):
    environment = {name: "ACTIVE"}
    wait_asleep(environment)
    assert environment == {name: "ACTIVE"}
    environment = {name: ""}
    wait_asleep(environment)
    assert environment == {name: "", "OMP_WAIT_POLICY": "PASSIVE"}
