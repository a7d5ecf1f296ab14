"""Tab completion: commands and what is ours by ourselves, settings by Hydra. Whatever fails, nothing is printed."""

from __future__ import annotations

import io
import os
import re
import shlex
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, suppress

from confiner_cli.errors import ConfinerError

OURS = ("from=", "prompt_file=", "prompts_file=", "at=")
SUBCOMMANDS = {"experts": ("export", "convert")}
_GROUP = re.compile(r"(experts|scheduler|long_video)=\w+")
_PLAIN = re.compile(r"[\w.@/+-]*(=[\w.@/+-]*)?", re.ASCII)
_REQUEST = re.compile(r"(query|install|uninstall)=(bash|zsh|fish)")


def complete(arguments: list[str], commands: Sequence[str]) -> int:
    """Answer `confiner -sc query=SHELL` (with COMP_LINE set by the shell), `install=SHELL` and `uninstall=SHELL`.

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
        return _hydra(arguments)
    with (
        redirect_stderr(io.StringIO()),
        suppress(Exception),
    ):  # a person is typing: no place for messages
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
    elif (
        words[0] == "generate"
        and _PLAIN.fullmatch(current)
        and not current.startswith(("prompt", *OURS))
    ):
        _offer(OURS, current, least=1)
        # Only the chosen groups decide what there is to complete; a prompt would be read as Hydra's grammar.
        os.environ["COMP_LINE"] = " ".join(["confiner", *filter(_GROUP.fullmatch, words), current])
        _hydra(arguments)
    elif words[0] == "generate" and "=" not in current:
        _offer((*OURS, "prompt="), current)


def _offer(names: Sequence[str], typed: str, least: int = 0) -> None:
    found = [name for name in names if name.startswith(typed)]
    if len(typed) >= least and found:
        print("\n".join(found))


def _hydra(arguments: list[str]) -> int:
    import hydra

    from confiner_cli.commands.sweep import raising
    from confiner_cli.config.hydra import config_dir, register

    register()
    sys.argv = ["confiner", "--shell-completion", *arguments]
    with raising():
        hydra.main(version_base="1.3", config_path=str(config_dir()), config_name="generate")(
            lambda config: None
        )()
    return 0
