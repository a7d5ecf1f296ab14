"""The README's commands run as they stand, in its order, in one folder."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.published import PINNED
from support.stand_in_hub import StandInHub, environment

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXPERTS = (ROOT / "docs" / "experts.md").read_text(encoding="utf-8")


def shell(text: str) -> list[str]:
    """The blocks of shell commands in a page that run confiner."""
    return [
        block for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) if "confiner" in block
    ]


SHELL = [block for block in shell(README) if "_sd" not in block]
FROM_THE_HUB = [block for block in [*shell(README), *shell(EXPERTS)] if "_sd" in block]
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
TARGETS = re.findall(r"```sh\nmake (\S+)\n```", README)


def run(command: list[str], folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    scripts = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    # The checkout's code, also where another one is installed.
    environment = {**os.environ, **variables, "PATH": scripts, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, cwd=folder, env=environment, text=True, capture_output=True, check=False
    )


def test_every_shell_command_of_the_readme_runs_in_its_order(tmp_path):
    prompts = [
        'a red star rising over the sea, "high quality" (2k)',
        "a green heart = ${x}, pulsing over the sand",
    ]
    (tmp_path / "prompts.txt").write_text("\n".join(prompts) + "\n", encoding="utf-8")
    for block in SHELL:
        result = run(["bash", "-euo", "pipefail", "-c", block], tmp_path)
        assert result.returncode == 0, (block, result.stderr)
        for path in re.findall(r"^/.*video\.mp4$", result.stdout, re.MULTILINE):
            assert Path(path).is_file()
    assert len(SHELL) == 7
    batch = (tmp_path / "videos.txt").read_text(encoding="utf-8").splitlines()
    assert len(batch) == len(prompts)
    assert all(Path(path).is_file() for path in batch)
    assert (tmp_path / "my_video" / "contact_sheet.png").is_file()
    assert (tmp_path / "index.html").is_file()


def test_every_command_with_experts_from_the_hub_runs_if_with_fewer_frames(repositories, tmp_path):
    """Against a stand-in for the hub that serves small models under the published names."""
    assert len(FROM_THE_HUB) == 2
    with StandInHub(repositories) as hub:
        hub.commits.update(PINNED)
        variables = environment(hub, tmp_path / "home") | {
            "XDG_CACHE_HOME": str(tmp_path / "cache")
        }
        for block in FROM_THE_HUB:
            small = (
                block.replace("experts=", "num_frames=2 experts=") if "generate" in block else block
            )
            result = run(["bash", "-euo", "pipefail", "-c", small], tmp_path, **variables)
            assert result.returncode == 0, (block, result.stderr)
    assert len(list(tmp_path.rglob("video.mp4"))) == 3


def test_the_python_of_the_readme_runs_in_six_lines_and_saves_its_videos(tmp_path):
    (code,) = PYTHON
    assert len([line for line in code.splitlines() if line.strip()]) <= 6
    result = run([sys.executable, "-c", code], tmp_path)
    assert result.returncode == 0, result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["heart-1.mp4", "heart-2.mp4"]


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_the_two_set_up_commands_are_targets_of_the_makefile(tmp_path):
    assert TARGETS == ["demo", "test"]
    for target in TARGETS:
        assert run(["make", "--dry-run", "-C", str(ROOT), target], tmp_path).returncode == 0


def test_pictures_and_pages_that_the_readme_links_exist():
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert links
    assert not [link for link in links if not (ROOT / link).is_file()]
