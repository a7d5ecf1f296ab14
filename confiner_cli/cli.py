"""The command line: finds the command, makes an exit code of its ending. Imports nothing heavy."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from typing import TextIO

from confiner_cli import progress
from confiner_cli.errors import ConfinerError, Terminated, named_error
from confiner_cli.experts.lean_imports import OWN_PROCESS
from confiner_cli.runs.signals import stoppable
from confiner_cli.runs.wait_policy import wait_asleep

COMMANDS = {
    "generate": "make a video, or many with -m",
    "resume": "go on with a run that was interrupted: confiner resume RUN_DIR",
    "plan": "what a video would take, before anything is loaded",
    "experts": "list the sets of experts; download, check, export or convert them",
    "measure": "print flicker, motion, sharpness and drift of videos: confiner measure VIDEO...",
    "show": "print how a video was made: confiner show FILE_OR_DIR",
    "gallery": "write one page of many runs, to look at and compare: confiner gallery PATH...",
}
INTERRUPTED = (130, 143)
HELP = """\
confiner makes videos from text by a chain of ready-made diffusion models (ConFiner, arXiv
2408.13423).

usage: confiner COMMAND ...

{commands}

try:   confiner generate prompt="a red heart rising over the sea"
more:  confiner COMMAND --help,  confiner --version
tab completion (bash):  eval "$(confiner -sc install=bash)"
"""


def main(arguments: list[str] | None = None) -> int:
    """Run `confiner`.

    No run ends because of what is told of it. A stderr that takes nothing is given up. A stdout
    that does not take a video's path costs the exit code 2, once all else is done; a reader that
    has seen enough of a text, such as `--help`, costs nothing.

    Returns:
        0 done, 1 our failure, 2 the user can fix it, 130 interrupted, 143 terminated.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        with stoppable(), _escaping(sys.stdout):
            code = dispatch(arguments)
            if code == 0:
                _flush()
            return code
    except KeyboardInterrupt:
        progress.say("interrupted")
        return 130
    except BrokenPipeError:  # the reader has gone (`| head`)
        return 0
    except Terminated:
        progress.say("terminated")
        return 143
    except Exception as error:
        named = named_error(error)
        if named.exit_code == 1 and os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        progress.say(named.lines())
        return named.exit_code


@contextmanager
def _escaping(stream: TextIO | None) -> Iterator[None]:
    """In the body, characters that a stream's encoding has not are escaped; else they would end it.

    Prompts and paths may hold any, whatever the terminal or `PYTHONIOENCODING` takes.
    """
    if not isinstance(stream, TextIOWrapper) or stream.errors != "strict":
        yield
        return
    stream.reconfigure(errors="backslashreplace")
    try:
        yield
    finally:
        with suppress(OSError, ValueError):  # it flushes first
            stream.reconfigure(errors="strict")


def _flush() -> None:
    """Write what is left to write on stdout.

    Raises:
        ConfinerError: it takes no more.
        BrokenPipeError: its reader is gone.
    """
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise ConfinerError(
            f"stdout cannot be written: {error.strerror}", "lead it to a disk with room: > FILE"
        ) from error


def dispatch(arguments: list[str]) -> int:
    """Find the command and run it."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        listing = "\n".join(f"  {name:<10}{what}" for name, what in COMMANDS.items())
        print(HELP.format(commands=listing), end="")
        return 0
    if arguments[0] == "--version":
        from importlib.metadata import version

        print(f"confiner {version('confiner')}")
        return 0
    if arguments[0] in ("-sc", "--shell-completion", "--shell_completion"):
        from confiner_cli.commands.completion import complete

        return complete(arguments[1:], tuple(COMMANDS))
    if arguments[0] not in COMMANDS:
        import difflib

        near = difflib.get_close_matches(arguments[0], COMMANDS, n=1)
        hint = f"commands are {', '.join(COMMANDS)}"
        if near:
            hint = f"did you mean confiner {near[0]}?"
        elif arguments[0].startswith("-"):
            hint = f"flags come after the command: confiner generate {arguments[0]} ..."
        raise ConfinerError(f"there is no command {arguments[0]!r}", hint)
    code: int = importlib.import_module(f"confiner_cli.commands.{arguments[0]}").main(arguments[1:])
    return code


def entry() -> None:
    """The console script."""
    wait_asleep()
    _occupy_closed()
    OWN_PROCESS.set(True)
    code = main()
    for stream in (sys.stdout, sys.stderr):
        _settle(stream)
    if code in INTERRUPTED:  # at once: threads that wait for a network would be waited for
        os._exit(code)
    sys.exit(code)


def _occupy_closed() -> None:
    """Lead standard streams that are closed nowhere: else the next file would take their place."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def _settle(stream: TextIO | None) -> None:
    """Flush a stream; lead nowhere what it does not take, of which Python would make an error."""
    if stream is None:
        return
    try:
        stream.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


if __name__ == "__main__":
    entry()
