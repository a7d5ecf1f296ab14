"""The README's commands run as they stand, in its order, in one folder."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.command_line import confiner
from support.published import PINNED
from support.stand_in_hub import StandInHub, in_process

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXPERTS = (ROOT / "docs" / "experts.md").read_text(encoding="utf-8")


def shell(text: str) -> list[str]:
    """The blocks of shell commands in a page that run confiner."""
    return [
        block for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) if "confiner" in block
    ]


PUBLISHED = re.compile(r"\bexperts=(\w+_sd|wan)\b|\bdownload \w+_sd\b")
SHELL = [block for block in shell(README) if not PUBLISHED.search(block)]
FROM_THE_HUB = [block for block in [*shell(README), *shell(EXPERTS)] if PUBLISHED.search(block)]
(WITH_OWN_CONFIGS,) = [block for block in shell(EXPERTS) if "--config-dir" in block]
OWN_CONFIGS = re.findall(r"```yaml\n(.*?)```", EXPERTS, re.DOTALL)
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
TARGETS = re.findall(r"```sh\nmake (\S+)\n```", README)
FEWER = {
    "experts=wan": "height=32 width=48 scheduler.refinement.num_inference_steps=1",
    "experts=": "num_frames=2 scheduler.refinement.num_inference_steps=1",
}
"""What makes a set's videos small, by what a block says; the first that it says counts."""


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    scripts = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    # The checkout's code, also where another one is installed.
    environment = {**os.environ, "PATH": scripts, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, cwd=folder, env=environment, text=True, capture_output=True, check=False
    )


def commands(block: str) -> list[list[str]]:
    """The commands of a block that needs nothing of a shell but its words."""
    lines = block.replace("\\\n", " ").splitlines()
    found = [shlex.split(line, comments=True) for line in lines]
    assert all(words[0] == "confiner" for words in found if words), block
    return [words[1:] for words in found if words]


def needs_a_shell(block: str) -> bool:
    return any(sign in block for sign in ("$", "`", "|", "<", ">", "&", ";"))


def assert_runs(block: str, folder: Path) -> None:
    """In this process where it can be: to start one takes longer than most of the commands."""
    if needs_a_shell(block):
        result = run(["bash", "-euo", "pipefail", "-c", block], folder)
        assert result.returncode == 0, (block, result.stderr)
        return
    for words in commands(block):
        ending = confiner(*words)
        assert ending.code == 0, (words, ending.err)
        for path in re.findall(r"^/.*video\.mp4$", ending.out, re.MULTILINE):
            assert Path(path).is_file()


PROMPTS = [
    'a green heart = ${x}, pulsing over the sand, "high quality" (2k)',
    "a red star rising over the sea",
]


@pytest.mark.thorough
def test_every_shell_command_of_the_readme_runs_in_its_order(folder):
    (folder / "prompts.txt").write_text("\n".join(PROMPTS) + "\n", encoding="utf-8")
    for block in SHELL:
        assert_runs(block, folder)
    assert len(SHELL) == 11 and sum(map(needs_a_shell, SHELL)) == 1
    batch = (folder / "videos.txt").read_text(encoding="utf-8").splitlines()
    assert len(batch) == len(PROMPTS)
    assert all(Path(path).is_file() for path in batch)
    assert (folder / "my_video" / "contact_sheet.png").is_file()
    assert (folder / "index.html").is_file()


@pytest.mark.thorough
@pytest.mark.filterwarnings(
    "ignore:unclosed file <_io.Buffered:ResourceWarning"
)  # imageio-ffmpeg's pipes
def test_every_command_with_experts_from_the_hub_runs_if_with_few_frames_and_steps(
    repositories, folder, monkeypatch
):
    """Against a stand-in for the hub that serves small models under the published names."""
    assert len(FROM_THE_HUB) == 4
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    with StandInHub(repositories) as hub, in_process(hub, folder / "home"):
        hub.commits.update(PINNED)
        for block in FROM_THE_HUB:
            said = next(words for words in FEWER if words in block)
            few = block.replace(said, f"{FEWER[said]} {said}")
            assert_runs(few if "generate" in block else block, folder)
            shutil.copy(next(folder.rglob("video.mp4")), folder / "phone.mp4")
    assert len(list(folder.rglob("video.mp4"))) == 7


@pytest.mark.thorough
def test_every_command_with_configs_of_ones_own_runs_with_the_configs_on_the_page(folder):
    for content in OWN_CONFIGS:
        (name,) = re.findall(r"^# (cfg/[\w/]+\.yaml): ", content, re.MULTILINE)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    assert_runs(WITH_OWN_CONFIGS, folder)
    assert len(list(folder.rglob("video.mp4"))) == 6


def test_the_python_of_the_readme_runs_in_six_lines_and_saves_its_videos(folder):
    (code,) = PYTHON
    assert len([line for line in code.splitlines() if line.strip()]) <= 6
    exec(code, {})
    assert sorted(path.name for path in folder.iterdir()) == ["heart-1.mp4", "heart-2.mp4"]


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_the_two_set_up_commands_are_targets_of_the_makefile(tmp_path):
    assert TARGETS == ["demo", "test"]
    for target in TARGETS:
        assert run(["make", "--dry-run", "-C", str(ROOT), target], tmp_path).returncode == 0


def test_pictures_and_pages_that_the_readme_links_exist():
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert links
    assert not [link for link in links if not (ROOT / link).is_file()]
