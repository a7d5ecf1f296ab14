"""`confiner` as tests call it: in this process, or in its own where processes are the point."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from unittest import mock

from confiner_cli.cli import main

PROMPT = "prompt=a red heart rising over the sea"
QUICK = (
    "num_frames=4",
    "scheduler.structure.num_inference_steps=1",
    "scheduler.refinement.num_inference_steps=1",
)
SMALLEST = (
    "num_frames=1", "height=16", "width=16",
    "scheduler=spatial_alone", "scheduler.structure.num_inference_steps=1",
)  # fmt: skip
# Shells start background jobs with Ctrl-C ignored, which children inherit.
LISTENING = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from confiner_cli.cli import entry
entry()
"""


@dataclass(frozen=True)
class Ending:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def folders(self) -> list[Path]:
        return [Path(line).parent for line in self.out.splitlines()]

    @property
    def folder(self) -> Path:
        assert self.code == 0, self.err
        (folder,) = self.folders
        return folder


def confiner(*arguments: str) -> Ending:
    """Run the command in this process."""
    with (
        redirect_stdout(StringIO()) as out,
        redirect_stderr(StringIO()) as err,
        mock.patch.object(sys, "argv", ["confiner"]),
    ):
        code = main([*arguments])
    return Ending(code, out.getvalue(), err.getvalue())


def generate(*words: str) -> Ending:
    return confiner("generate", *words)


def started(*arguments: str, folder: Path, **options) -> subprocess.Popen[str]:
    """Start the command as a process in `folder`."""
    command = [sys.executable, "-c", LISTENING, *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.Popen(command, cwd=folder, text=True, **pipes)


def ended(process: subprocess.Popen[str], timeout: float = 300) -> Ending:
    with process:
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    return Ending(process.returncode, out, err)


def facts_of(folder: Path) -> dict:
    return json.loads((folder / "run.json").read_text(encoding="utf-8"))
