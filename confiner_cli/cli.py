"""The command line: finds the command, makes an exit code of its ending. Imports nothing heavy."""

from __future__ import annotations

import importlib
import os
import sys

from confiner_cli.errors import ConfinerError, Terminated, named_error
from confiner_cli.runs.signals import stoppable

COMMANDS = {
    "generate": "make a video, or many with -m",
    "resume": "go on with a run that was interrupted: confiner resume RUN_DIR",
    "plan": "what a video would take, before anything is loaded",
    "experts": "list the sets of experts; download, check, export or convert them",
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

    Returns:
        0 done, 1 our failure, 2 the user can fix it, 130 interrupted, 143 terminated.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        with stoppable():
            return dispatch(arguments)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader has gone (`| head`); keep Python from complaining about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Terminated:
        print("terminated", file=sys.stderr)
        return 143
    except Exception as error:
        named = named_error(error)
        if named.exit_code == 1 and os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        print(named.lines(), file=sys.stderr)
        return named.exit_code


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
    code = main()
    if code in INTERRUPTED:  # at once: threads that wait for a network would be waited for
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    entry()
