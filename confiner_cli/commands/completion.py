"""Tab completion: commands by ourselves, settings by Hydra. Whatever fails, nothing is printed."""

from __future__ import annotations

import io
import os
import re
import shlex
from collections.abc import Sequence
from contextlib import redirect_stderr, suppress

from confiner_cli.commands.arguments import Parser, source_of
from confiner_cli.config.overrides import GROUPS, SHORTHANDS
from confiner_cli.config.places import OURS, ConfigSource
from confiner_cli.errors import ConfinerError

STARTS = tuple(f"{key}=" for key in SHORTHANDS)
"""Words that the command line has, and Hydra has not."""
SUBCOMMANDS = {"experts": ("download", "check", "export", "convert")}
NAMING_A_SET = (["download"], ["check"], ["export"])
TAKING_SETTINGS = ("generate", "plan")
_NAME = re.compile(r"\w+")
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
        return
    command, *others = words
    # Fails where the folder or the name of a config is being typed: the shell offers files.
    options, _ = Parser(command, words="words").parse_known_intermixed_args(others)
    typed, source = options.words, source_of(options)
    if command in SUBCOMMANDS and not typed:
        _offer(SUBCOMMANDS[command], current)
    elif command in SUBCOMMANDS and typed in NAMING_A_SET:
        _offer(source.choices("experts"), current)
    elif command in TAKING_SETTINGS or (command in SUBCOMMANDS and typed[:1] in NAMING_A_SET[:2]):
        _settings(arguments, typed, current, source)


def _settings(
    arguments: list[str], typed: Sequence[str], current: str, source: ConfigSource
) -> None:
    """Offer settings and their values after the words that are typed."""
    if not _is_setting(current):
        if "=" not in current:
            _offer((*STARTS, "prompt="), current)
        return
    _offer(STARTS, current, least=1)
    # Only the chosen groups decide what there is to complete; a prompt would be read as Hydra's
    # grammar.
    groups = [word for word in typed if _chooses_a_group(word, source)]
    os.environ["COMP_LINE"] = " ".join(["confiner", *groups, current])
    _hydra(arguments, source)


def _chooses_a_group(word: str, source: ConfigSource) -> bool:
    key, _, name = word.lstrip("+").partition("=")
    is_group = key in GROUPS or key.startswith("hydra/") or source.has_group(key)
    return bool(_NAME.fullmatch(name)) and is_group


def _is_setting(current: str) -> bool:
    """Whether what is being typed is one of Hydra's settings."""
    return bool(_PLAIN.fullmatch(current)) and not current.startswith(("prompt", *STARTS))


def _offer(names: Sequence[str], typed: str, least: int = 0) -> None:
    found = [name for name in names if name.startswith(typed)]
    if len(typed) >= least and found:
        print("\n".join(found))


def _hydra(arguments: list[str], source: ConfigSource = OURS) -> None:
    from confiner_cli.config.hydra import launch

    launch(["--shell-completion", *arguments], lambda config: None, source=source)
