"""A terminal as far as `confiner` needs one: what is left on it when a command has ended."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

TOKEN = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\n|\r|[^\x1b\r\n]+")


def told_on_a_terminal(*arguments: str, folder: Path) -> str:
    """All that a command writes on a terminal, as it comes. It has to end well."""
    terminal, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "confiner_cli", *arguments],
        cwd=folder,
        env=os.environ | {"COLUMNS": "120", "LINES": "40", "TERM": "xterm"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    told = b""
    while True:
        try:
            part = os.read(terminal, 4096)
        except OSError:  # Linux's way to say that nobody writes any more
            break
        if not part:
            break
        told += part
    os.close(terminal)
    assert process.wait() == 0, told.decode(errors="replace")
    return told.decode(errors="replace")


def left_on(told: str) -> list[str]:
    """The lines that are left on a terminal, of all that was written and taken away again."""
    lines, row = [""], 0
    for token in TOKEN.findall(told):
        if token == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif token.endswith("A") and token[0] == "\x1b":
            row = max(0, row - int(token[2:-1] or 1))
        elif token.endswith("K") and token[0] == "\x1b":
            lines[row] = ""
        elif token[0] not in "\x1b\r":
            lines[row] += token
    return lines
