"""The command line's `key=value` words, taken apart before Hydra: prompts stay verbatim."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import get_type_hints

from confiner_cli.config.bounds import did_you_mean
from confiner_cli.config.prompts import quoted, read_prompt, read_prompts, verbatim
from confiner_cli.config.schema import Settings
from confiner_cli.errors import ConfinerError

GROUPS = (
    "experts",
    "experts/control",
    "experts/spatial",
    "experts/temporal",
    "scheduler",
    "long_video",
)
SHORTHANDS = ("from", "prompt_file", "prompts_file", "at")
"""Keys of the command line that are no settings: they become some."""
PROMPT_KEYS = ("prompt", "prompt_file", "prompts_file")
RESERVED = (
    "hydra.run.dir",
    "hydra.sweep.dir",
    "hydra.sweep.subdir",
    "hydra.output_subdir",
    "hydra.mode",
)
_PATH = re.compile(
    r"output\.dir|structure\.video|experts\.knows"
    r"|experts\.\w+\.(?:model|shared|motion_adapter)"
)
_ADAPTERS = re.compile(r"experts\.\w+\.(?:loras|embeddings)")
_BARE = re.compile(
    r""""(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'"""
    r"""|\b(?P<name>path|token)\s*:\s*(?P<value>[^\s'",{}\[\]][^,{}\[\]]*)"""
)
"""What is quoted, to be skipped; or what is not, after `path:` and `token:`, up to its end."""
_WORD = re.compile(
    r"(?P<mark>~|\+{0,2})(?P<key>[^=~+@][^=@]*)(?:@[^=]*)?(?:=(?P<value>.*))?", re.DOTALL
)


@dataclass(frozen=True)
class Word:
    """One override as it was typed: `+key=value` has the mark `+`; `value` is None without `=`."""

    text: str
    mark: str
    key: str
    value: str | None


@dataclass(frozen=True)
class Overrides:
    """What was typed, checked.

    Attributes:
        words: in the order of the command line, which is the order of a sweep.
        multirun: whether they are a sweep's.
    """

    words: tuple[Word, ...]
    multirun: bool

    @property
    def chosen(self) -> frozenset[str]:
        """The dotted keys that a person has set."""
        return frozenset(word.key.replace("/", ".") for word in self.words)

    @property
    def record(self) -> Path | None:
        """The run folder or the video that `from=` names."""
        named = [word.value or "" for word in self.words if word.key == "from"]
        return Path(named[-1]).expanduser() if named else None

    @property
    def names_prompt(self) -> bool:
        """Whether they bring a prompt, be it by a sweeper's own list."""
        return any(
            word.key in (*PROMPT_KEYS, "from") or word.key.startswith("hydra.sweeper.params")
            for word in self.words
        )

    def for_hydra(self) -> list[str]:
        """The words that Hydra reads as they were meant; `from=` is left out.

        Prompts are quoted, files of prompts are read, and repeated prompts become one word.

        Raises:
            ConfinerError: a prompt that is refused, or a file that cannot be read.
        """
        translated: list[str] = []
        for word in self.words:
            translated += _translated(word, self.multirun)
        return _joined(translated)


def parse_overrides(texts: Sequence[str], multirun: bool) -> Overrides:
    """Take the words of a command apart.

    Raises:
        ConfinerError: an unknown key, a key given twice, something that is no override.
    """
    words = [_parsed(text) for text in texts]
    for word in words:
        _check_key(word)
    _check_repeats(words, multirun)
    return Overrides(tuple(_with_later_prompts(words)), multirun)


@functools.cache
def known_keys(kind: type, prefix: str = "") -> tuple[str, ...]:
    """Dotted names of all settings and of the nodes that hold them."""
    return tuple(_known_keys(kind, prefix))


def _known_keys(kind: type, prefix: str) -> Iterator[str]:
    hints = get_type_hints(kind)
    for entry in fields(kind):
        yield prefix + entry.name
        if is_dataclass(hints[entry.name]):
            yield from _known_keys(hints[entry.name], f"{prefix}{entry.name}.")


def _parsed(text: str) -> Word:
    match = _WORD.fullmatch(text)
    if match is None:
        raise ConfinerError(f"cannot read {text!r}", "settings are written key=value")
    return Word(text, match["mark"], match["key"].strip(), match["value"])


def _check_key(word: Word) -> None:
    if word.key in RESERVED:
        raise ConfinerError(
            f"{word.key} is set by confiner", "use output.dir= for the folder, -m for a sweep"
        )
    if word.mark == "~":
        raise ConfinerError(
            f"cannot remove {word.key}: every setting has a value", f"{word.key}= another value"
        )
    if word.value is None:
        raise ConfinerError(
            f"cannot read {word.text!r}", 'settings are written key=value, prompts prompt="..."'
        )
    known = (*known_keys(Settings), *GROUPS, *SHORTHANDS)
    if word.key not in known and not word.key.startswith("hydra"):
        raise ConfinerError(
            f"there is no setting {word.key!r}",
            f"{did_you_mean(word.key, known)}confiner generate --cfg job prompt=x prints all "
            "settings",
        )


def _check_repeats(words: Sequence[Word], multirun: bool) -> None:
    keys = [word.key for word in words]
    repeatable = {"at", "prompt"} if multirun else {"at"}
    for key in dict.fromkeys(keys):
        if keys.count(key) > 1 and key not in repeatable:
            is_prompt = key == "prompt"
            hint = "repeating prompt= makes a sweep with -m" if is_prompt else f"give {key}= once"
            raise ConfinerError(f"{key}= is given {keys.count(key)} times", hint)
    sources = [key for key in PROMPT_KEYS if key in keys]
    if len(sources) > 1:
        raise ConfinerError(f"{' and '.join(sources)} are given together", "use one of them")


def _with_later_prompts(words: Sequence[Word]) -> list[Word]:
    """The words with `at=FRAME:TEXT`, however many, as one `prompts={...}`."""
    prompts: dict[int, str] = {}
    for word in words:
        if word.key == "at":
            frame, text = _frame_and_text(word)
            if frame in prompts:
                raise ConfinerError(f"at={frame}: is given twice", "one prompt for each frame")
            prompts[frame] = text
    others = [word for word in words if word.key != "at"]
    if not prompts:
        return others
    if any(word.key == "prompts" for word in others):
        raise ConfinerError("prompts= and at= are given together", "use one of them")
    entries = ",".join(f"{frame}:{quoted(text)}" for frame, text in prompts.items())
    return [*others, _parsed(f"prompts={{{entries}}}")]


def _frame_and_text(word: Word) -> tuple[int, str]:
    frame, colon, text = (word.value or "").partition(":")
    if not colon or not frame.strip().isdecimal():
        raise ConfinerError(
            f"cannot read {word.text!r}", 'at=48:"a blue star rising": from frame 48 on'
        )
    return int(frame), verbatim(text, f"at={int(frame)}:")


def _translated(word: Word, multirun: bool) -> list[str]:
    value = word.value or ""
    match word.key:
        case "prompt":
            return [f"prompt={quoted(verbatim(value))}"]
        case "negative_prompt":
            return [f"negative_prompt={quoted(verbatim(value, 'negative_prompt', empty=True))}"]
        case "prompt_file":
            return [f"prompt={quoted(read_prompt(value))}"]
        case "prompts_file":
            return _prompts_of(value, multirun)
        case "prompts":
            # Its keys are the user's own: Hydra has to be told that they are meant.
            return [f"++prompts={value}"]
        case "from":
            return []
    if _PATH.fullmatch(word.key) and not _meant_for_hydra(value, multirun):
        return [f"{word.mark}{word.key}={quoted(value)}"]
    if _ADAPTERS.fullmatch(word.key) and "${" not in value:
        return [f"{word.mark}{word.key}={_with_quotes(value)}"]
    return [word.text]


def _with_quotes(adapters: str) -> str:
    """A list of adapters with its paths and tokens in quotes: Hydra takes no `~` and no `<`."""

    def in_quotes(match: re.Match[str]) -> str:
        if match["name"] is None:
            return match[0]
        return f"{match['name']}:{quoted(match['value'].rstrip())}"

    return _BARE.sub(in_quotes, adapters)


def _prompts_of(path: str, multirun: bool) -> list[str]:
    if not multirun:
        raise ConfinerError(
            "prompts_file= makes many videos", "add -m, or use prompt_file= for a single prompt"
        )
    return [f"prompt={quoted(text)}" for text in read_prompts(path)]


def _meant_for_hydra(value: str, multirun: bool) -> bool:
    """Whether a path is more than a path: null, quoted, an interpolation, or a sweep's list."""
    if value in ("", "null") or value[0] in "'\"[" or "${" in value:
        return True
    return multirun and "," in value


def _joined(words: Sequence[str]) -> list[str]:
    """Several `prompt=` words as one, in the first's place: the sweeper parts them at commas."""
    prompts = [word.removeprefix("prompt=") for word in words if word.startswith("prompt=")]
    joined: list[str] = []
    for word in words:
        if not word.startswith("prompt="):
            joined.append(word)
        elif prompts:
            joined.append(f"prompt={','.join(prompts)}")
            prompts.clear()
    return joined
