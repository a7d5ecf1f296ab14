"""Streams that take nothing: a full disk, a reader that is gone, one that is closed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from io import StringIO
from typing import TextIO

from support.command_line import Ending

from confiner_cli.cli import main

DEAF = ("full", "gone", "closed")
REDIRECTED = {"out": redirect_stdout, "err": redirect_stderr}


@contextmanager
def deaf(kind: str) -> Iterator[TextIO | None]:
    """A stream of one of the kinds; None is Python's word for one that was closed at the start."""
    if kind == "closed":
        yield None
        return
    if kind == "full":
        stream = os.fdopen(os.open("/dev/full", os.O_WRONLY), "w", encoding="utf-8")
    else:
        reader, writer = os.pipe()
        os.close(reader)
        stream = os.fdopen(writer, "w", encoding="utf-8")
    try:
        yield stream
    finally:
        with suppress(OSError):  # it still has what it could not get rid of
            stream.close()


def untold(kind: str, *names: str, arguments: tuple[str, ...]) -> Ending:
    """Run the command in this process with the streams `out` or `err`, or both, deaf."""
    texts = {"out": StringIO(), "err": StringIO()}
    with deaf(kind) as stream:
        streams = {name: stream if name in names else texts[name] for name in texts}
        with REDIRECTED["out"](streams["out"]), REDIRECTED["err"](streams["err"]):
            code = main([*arguments])
    return Ending(code, texts["out"].getvalue(), texts["err"].getvalue())


def go_deaf() -> None:
    """Let this process's own stdout and stderr have a reader that is gone."""
    reader, writer = os.pipe()
    os.close(reader)
    for descriptor in (1, 2):
        os.dup2(writer, descriptor)
