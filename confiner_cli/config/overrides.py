"""The command line's `key=value` words, taken apart before Hydra: prompts stay verbatim."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from confiner_cli.config.bounds import did_you_mean
from confiner_cli.config.places import OURS, ConfigSource
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
TEXT_KEYS = ("prompt", "negative_prompt")
"""Keys whose values are verbatim; a sweep repeats them where others have a comma."""
RESERVED = (
    "hydra.run.dir",
    "hydra.sweep.dir",
    "hydra.sweep.subdir",
    "hydra.output_subdir",
    "hydra.mode",
)
_PATH = re.compile(
    r"output\.dir|structure\.video|experts\.knows"
    r"|experts\.\w+\.(?:model|shared|motion_adapter)|experts\.\w+\.\w+\.\d+\.path"
)
_NAMED = re.compile(
    r""""(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'"""
    r"""|\b(?P<name>path|token|model|shared|motion_adapter|knows|video|dir)\s*:\s*"""
    r"""(?P<value>[^\s'",{}\[\]][^,{}\[\]]*)"""
)
"""Of a list or a mapping: what is quoted, to be skipped; or a path or a token that is not."""
_OF_HYDRA = re.compile(r"['\"]|^\w+\(")
"""What a sweep over paths has in it that is written in Hydra's own words: `choice(a,b)`."""
_ENTRY = re.compile(r"\.\d+(?=\.|$)")
"""The number of an entry in a key: `loras.0.scale`."""
_WORD = re.compile(
    r"(?P<mark>~|\+{0,2})(?P<key>[^=~+@][^=@]*)(?:@[^=]*)?(?:=(?P<value>.*))?", re.DOTALL
)


STRENGTH, TE = "strength", "scheduler.refinement.te"
"""Both say with how much noise the refinement begins."""


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
        source: the YAML files that they choose from.
    """

    words: tuple[Word, ...]
    multirun: bool
    source: ConfigSource = OURS

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
        """Whether they bring a prompt, be it by a sweeper's own list or a config of one's own."""
        return self.source.is_own or any(
            word.key in (*PROMPT_KEYS, "from") or word.key.startswith("hydra.sweeper.params")
            for word in self.words
        )

    def for_hydra(self) -> list[str]:
        """The words that Hydra reads as they were meant; `from=` is left out.

        Prompts and paths are quoted, files of prompts are read, and a sweep's repeated prompts
        become one word.

        Raises:
            ConfinerError: a prompt that is refused, or a file that cannot be read.
        """
        translated: list[str] = []
        for word in self.words:
            translated += _translated(word, self.multirun)
        beginnings = [word.key for word in self.words if word.key in (STRENGTH, TE)]
        if beginnings[-1:] == [TE]:
            # What is said last holds, over a strength of a config, a record or an earlier call.
            translated.append(f"{STRENGTH}=null")
        return _joined(translated) if self.multirun else translated


def parse_overrides(texts: Sequence[str], multirun: bool, source: ConfigSource = OURS) -> Overrides:
    """Take the words of a command apart.

    Raises:
        ConfinerError: an unknown key, a key given twice, something that is no override.
    """
    words = [_parsed(text) for text in texts]
    for word in words:
        if not source.has_group(word.key):
            _check_key(word, source)
    _check_repeats(words, multirun)
    _check_order(words, source)
    _check_start(words)
    return Overrides(tuple(_with_later_prompts(words)), multirun, source)


def _check_start(words: Sequence[Word]) -> None:
    """Where the refinement begins is said once."""
    keys = {word.key for word in words}
    if {STRENGTH, TE} <= keys:
        raise ConfinerError(
            f"{STRENGTH}= and {TE}= are two beginnings of the refinement", "leave one of them out"
        )


@functools.cache
def known_keys(kind: type, prefix: str = "") -> tuple[str, ...]:
    """Dotted names of all settings and of the nodes that hold them."""
    return tuple(_known_keys(kind, prefix))


def _known_keys(kind: type, prefix: str) -> Iterator[str]:
    hints = get_type_hints(kind)
    for entry in fields(kind):
        yield from _keys_of(hints[entry.name], prefix + entry.name)


def _keys_of(hint: Any, key: str) -> Iterator[str]:
    """A key with those below it; `.0` stands for any entry of a list."""
    yield key
    if type(None) in get_args(hint):  # a node that may be absent
        hint = get_args(hint)[0]
    if is_dataclass(hint):
        yield from _known_keys(hint, f"{key}.")  # type: ignore[arg-type]
    elif get_origin(hint) is list:
        yield from _keys_of(get_args(hint)[0], f"{key}.0")
    elif hint is Any:
        yield f"{key}.0"


def _parsed(text: str) -> Word:
    match = _WORD.fullmatch(text)
    if match is None:
        raise ConfinerError(f"cannot read {text!r}", "settings are written key=value")
    key = re.sub(r"\[(\d+)\]", r".\1", match["key"].strip())
    return Word(text, match["mark"], key, match["value"])


def _check_key(word: Word, source: ConfigSource) -> None:
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
    if _ENTRY.sub(".0", word.key) not in known and not word.key.startswith("hydra"):
        raise _unknown(word, source, known)


def _unknown(word: Word, source: ConfigSource, known: Sequence[str]) -> ConfinerError:
    near = did_you_mean(word.key, (*known, *source.groups()))
    more = "confiner generate --cfg job prompt=x prints all settings"
    if word.mark == "+" and "." not in word.key and source.folder is None:
        more = "a group of your own is found with --config-dir FOLDER"
    return ConfinerError(f"there is no setting {word.key!r}", near + more)


def _check_repeats(words: Sequence[Word], multirun: bool) -> None:
    keys = [word.key for word in words]
    repeatable = {"at", *TEXT_KEYS} if multirun else {"at"}
    for key in dict.fromkeys(keys):
        if keys.count(key) > 1 and key not in repeatable:
            is_text = key in TEXT_KEYS
            hint = f"repeating {key}= makes a sweep with -m" if is_text else f"give {key}= once"
            raise ConfinerError(f"{key}= is given {keys.count(key)} times", hint)
    sources = [key for key in PROMPT_KEYS if key in keys]
    if len(sources) > 1:
        raise ConfinerError(f"{' and '.join(sources)} are given together", "use one of them")


def _check_order(words: Sequence[Word], source: ConfigSource) -> None:
    """Refuse a value that a later word would replace with all that it is in."""
    seen: list[str] = []
    for word in words:
        inside = [key for key in seen if key.startswith(f"{word.key}.")]
        if inside and word.key not in GROUPS and not source.has_group(word.key):
            raise ConfinerError(
                f"{word.key}= would replace {inside[0]}=, which is before it",
                f"write {word.key}= first",
            )
        seen.append(word.key)


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
    if _PATH.fullmatch(word.key):
        return [f"{_mark(word)}{word.key}={_path(value, multirun)}"]
    if value[:1] in ("[", "{") and "${" not in value:
        value = _with_quotes(value)
    if word.value is None or (value == word.value and not _ENTRY.search(word.key)):
        return [word.text]
    return [f"{_mark(word)}{word.key}={value}"]


def _mark(word: Word) -> str:
    """A value inside an entry is forced: the entry may not have stated it, as `scale`."""
    return "++" if _ENTRY.search(word.key) and not word.key[-1].isdecimal() else word.mark


def _with_quotes(value: str) -> str:
    """A list or mapping with its paths and tokens in quotes: Hydra takes no `~` and no `<`."""

    def in_quotes(match: re.Match[str]) -> str:
        text = (match["value"] or "").rstrip()
        if match["name"] is None or text == "null":
            return match[0]
        return f"{match['name']}:{quoted(text)}"

    return _NAMED.sub(in_quotes, value)


def _prompts_of(path: str, multirun: bool) -> list[str]:
    if not multirun:
        raise ConfinerError(
            "prompts_file= makes many videos", "add -m, or use prompt_file= for a single prompt"
        )
    return [f"prompt={quoted(text)}" for text in read_prompts(path)]


def _path(value: str, multirun: bool) -> str:
    """A path, or several of a sweep, in quotes; what is meant for Hydra stays as it is.

    That is null, a text in quotes, an interpolation, or a sweep in Hydra's own words.
    """
    if value in ("", "null") or value[0] in "'\"[" or "${" in value:
        return value
    if not multirun or "," not in value:
        return quoted(value)
    if _OF_HYDRA.search(value):
        return value
    return ",".join(_path(part.strip(), multirun=False) for part in value.split(","))


def _joined(words: Sequence[str]) -> list[str]:
    """Several words of one text as one, in the first's place: the sweeper parts them at commas."""
    joined: dict[str, str] = {}
    for word in words:
        key, _, value = word.partition("=")
        if key in TEXT_KEYS and key in joined:
            joined[key] += f",{value}"
        else:
            joined[key if key in TEXT_KEYS else word] = word
    return list(joined.values())
