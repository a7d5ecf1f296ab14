"""Tab completion: commands by ourselves, settings by Hydra. Whatever fails, nothing is printed."""

from __future__ import annotations

import io
import os
import re
import shlex
from collections.abc import Sequence
from contextlib import redirect_stderr, suppress

from confiner_cli.config.overrides import GROUPS, SHORTHANDS
from confiner_cli.errors import ConfinerError

STARTS = tuple(f"{key}=" for key in SHORTHANDS)
"""Words that the command line has, and Hydra has not."""
SUBCOMMANDS = {"experts": ("download", "check", "export", "convert")}
_GROUP = re.compile(rf"({'|'.join(GROUPS)})=\w+")
_PLAIN = re.compile(r"[\w.@/+-]*(=[\w.@/+-]*)?", re.ASCII)
_REQUEST = re.compile(r"(query|install|uninstall)=(bash|zsh|fish)")


def complete(arguments: list[str], commands: Sequence[str]) -> int:
    """Answer `confiner -sc query=SHELL` (the shell sets COMP_LINE), `install=` and `uninstall=`.

    Raises:
        ConfinerError: a request of another kind.
    """
    request = _REQUEST.fullmatch(" ".join(arguments))
    if request is None:
        raise ConfinerError(
            "-sc takes install=, uninstall= or query= and bash, zsh or fish",
            "confiner -sc install=bash",
        )
    if request[1] != "query":
        _hydra(arguments)
        return 0
    # A person is typing: no place for messages.
    with redirect_stderr(io.StringIO()), suppress(Exception):
        _query(arguments, commands)
    return 0


def _query(arguments: list[str], commands: Sequence[str]) -> None:
    line = os.environ.get("COMP_LINE", "")
    words = shlex.split(line)[1:]  # fails inside an open quote, where there is nothing to complete
    current = "" if line.endswith(" ") else words.pop()
    if not words:
        _offer(commands, current)
    elif words[0] in SUBCOMMANDS and len(words) == 1:
        _offer(SUBCOMMANDS[words[0]], current)
    elif words[0] == "generate" and _is_setting(current):
        _offer(STARTS, current, least=1)
        # Only the chosen groups decide what there is to complete; a prompt would be read as
        # Hydra's grammar.
        groups = filter(_GROUP.fullmatch, words)
        os.environ["COMP_LINE"] = " ".join(["confiner", *groups, current])
        _hydra(arguments)
    elif words[0] == "generate" and "=" not in current:
        _offer((*STARTS, "prompt="), current)


def _is_setting(current: str) -> bool:
    """Whether what is being typed is one of Hydra's settings."""
    return bool(_PLAIN.fullmatch(current)) and not current.startswith(("prompt", *STARTS))


def _offer(names: Sequence[str], typed: str, least: int = 0) -> None:
    found = [name for name in names if name.startswith(typed)]
    if len(typed) >= least and found:
        print("\n".join(found))


def _hydra(arguments: list[str]) -> None:
    from confiner_cli.config.hydra import launch

    launch(["--shell-completion", *arguments], lambda config: None)
