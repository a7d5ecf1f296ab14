"""The command line's `key=value` words: taken apart before Hydra sees them, so that prompts stay what was typed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

from confiner_cli.config.bounds import did_you_mean
from confiner_cli.config.prompts import quoted, read_prompt, read_prompts, verbatim
from confiner_cli.config.schema import MISSING, ROLES, SchedulerSettings, Settings, unstated
from confiner_cli.errors import ConfinerError

GROUPS = (
    "experts",
    "experts/control",
    "experts/spatial",
    "experts/temporal",
    "scheduler",
    "long_video",
)
OURS = (
    "hydra.run.dir",
    "hydra.sweep.dir",
    "hydra.sweep.subdir",
    "hydra.output_subdir",
    "hydra.mode",
)
_PATH = re.compile(
    r"output\.dir|structure\.video|experts\.knows|experts\.\w+\.(?:model|shared|motion_adapter)"
)
_WORD = re.compile(
    r"(?P<mark>~|\+{0,2})(?P<key>[^=~+@][^=@]*)(?:@[^=]*)?(?:=(?P<value>.*))?", re.DOTALL
)


@dataclass(frozen=True)
class Word:
    """One override as it was typed: `+key=value` has the mark `+`; `value` is None where there is no `=`."""

    text: str
    mark: str
    key: str
    value: str | None


def for_hydra(words: Sequence[str], multirun: bool) -> list[str]:
    """Overrides that Hydra reads as they were meant.

    Prompts are quoted, files of prompts are read, `from=` becomes the recorded values, and in a sweep repeated prompts
    become one. The order stays: it is the order of the sweep.

    Raises:
        ConfinerError: an unknown key, a key given twice, a prompt that is refused, a file that cannot be read.
    """
    parsed = [_parsed(word) for word in words]
    for word in parsed:
        _check_key(word)
    _check_repeats(parsed, multirun)
    parsed = _scheduled(parsed)
    chosen = {word.key.replace("/", ".") for word in parsed}
    result: list[str] = []
    for word in parsed:
        result += _translated(word, multirun, chosen)
    return _joined(result)


def _parsed(text: str) -> Word:
    match = _WORD.fullmatch(text)
    if match is None:
        raise ConfinerError(f"cannot read {text!r}", "settings are written key=value")
    return Word(text, match["mark"], match["key"].strip(), match["value"])


def _check_key(word: Word) -> None:
    if word.key in OURS:
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
    known = {*known_keys(Settings), *GROUPS, "from", "prompt_file", "prompts_file", "at"}
    if word.key not in known and not word.key.startswith("hydra"):
        raise ConfinerError(
            f"there is no setting {word.key!r}",
            f"{did_you_mean(word.key, known)}confiner generate --cfg job prompt=x prints all settings",
        )


def known_keys(kind: type, prefix: str = "") -> Iterator[str]:
    """Dotted names of all settings and of the nodes that hold them."""
    hints = get_type_hints(kind)
    for entry in fields(kind):
        yield prefix + entry.name
        if is_dataclass(hints[entry.name]):
            yield from known_keys(hints[entry.name], f"{prefix}{entry.name}.")


def _check_repeats(words: Sequence[Word], multirun: bool) -> None:
    keys = [word.key for word in words]
    for key in dict.fromkeys(keys):
        if keys.count(key) > 1 and key != "at" and not (multirun and key == "prompt"):
            hint = (
                "repeating prompt= makes a sweep with -m"
                if key == "prompt"
                else f"give {key}= once"
            )
            raise ConfinerError(f"{key}= is given {keys.count(key)} times", hint)
    sources = [key for key in ("prompt", "prompt_file", "prompts_file") if key in keys]
    if len(sources) > 1:
        raise ConfinerError(f"{' and '.join(sources)} are given together", "use one of them")


def _scheduled(words: Sequence[Word]) -> list[Word]:
    """The words with `at=FRAME:TEXT`, however many, as one `prompts={...}`."""
    prompts: dict[int, str] = {}
    for word in words:
        if word.key == "at":
            frame, colon, text = (word.value or "").partition(":")
            if not colon or not frame.strip().isdecimal():
                raise ConfinerError(
                    f"cannot read {word.text!r}", 'at=48:"a blue star rising": from frame 48 on'
                )
            if int(frame) in prompts:
                raise ConfinerError(f"at={int(frame)}: is given twice", "one prompt for each frame")
            prompts[int(frame)] = verbatim(text, f"at={int(frame)}:")
    others = [word for word in words if word.key != "at"]
    if not prompts:
        return others
    if any(word.key == "prompts" for word in others):
        raise ConfinerError("prompts= and at= are given together", "use one of them")
    return [*others, _parsed(f"prompts={_value(prompts)}")]


def _translated(word: Word, multirun: bool, chosen: set[str]) -> list[str]:
    value = word.value or ""
    match word.key:
        case "prompt":
            return [f"prompt={quoted(verbatim(value))}"]
        case "negative_prompt":
            return [f"negative_prompt={quoted(verbatim(value, 'negative_prompt', empty=True))}"]
        case "prompt_file":
            return [f"prompt={quoted(read_prompt(value))}"]
        case "prompts_file":
            if not multirun:
                raise ConfinerError(
                    "prompts_file= makes many videos",
                    "add -m, or use prompt_file= for a single prompt",
                )
            return [f"prompt={quoted(text)}" for text in read_prompts(value)]
        case "prompts":
            return [
                f"++prompts={value}"
            ]  # its keys are the user's: Hydra has to be told that they are meant
        case "from":
            return list(recorded(Path(value).expanduser(), chosen))
    if _PATH.fullmatch(word.key) and not _meant_for_hydra(value, multirun):
        return [f"{word.mark}{word.key}={quoted(value)}"]
    return [word.text]


def _meant_for_hydra(value: str, multirun: bool) -> bool:
    """Whether a path is more than a path: null, quoted, an interpolation, or a sweep's list."""
    return (
        value in ("", "null") or value[0] in "'\"[" or "${" in value or (multirun and "," in value)
    )


def _joined(words: Sequence[str]) -> list[str]:
    """Several `prompt=` words as one, in the place of the first: Hydra's sweeper reads them apart at the commas."""
    prompts = [word.removeprefix("prompt=") for word in words if word.startswith("prompt=")]
    first = next((index for index, word in enumerate(words) if word.startswith("prompt=")), None)
    joined = f"prompt={','.join(prompts)}"
    kept = (joined if index == first else word for index, word in enumerate(words))
    return [word for word in kept if word == joined or not word.startswith("prompt=")]


def recorded(path: Path, chosen: set[str], output: bool = False) -> Iterator[str]:
    """Overrides that make the video at `path` again, but for what the person has chosen anew.

    A group that is chosen anew (`scheduler=confiner_18`) replaces all of its recorded values; a new set of experts
    brings its own sizes too. With `output`, what the run keeps is the same too.
    """
    config = read_record(path).get("config")
    if not isinstance(config, dict):
        raise ConfinerError(
            f"the record of {path} has no settings", "its run was refused before it began"
        )
    replaced = _replaced(config, chosen) | {"output.dir" if output else "output"}
    known = set(known_keys(Settings))
    for key, value in {**_unrecorded(config), **dict(_leaves(config))}.items():
        if key not in known:  # a file from elsewhere must not reach Hydra's own settings
            raise ConfinerError(
                f"the record of {path} has a setting that confiner does not have: {key}",
                "was it made by another version? give its settings by hand",
            )
        parents = {key.rsplit(".", depth)[0] for depth in range(key.count(".") + 1)}
        if not replaced & parents:
            mark = "++" if key == "prompts" else ""
            yield f"{mark}{key}={'inf' if key == 'num_frames' and value == 'inf' else _value(value)}"


def _replaced(config: dict[str, Any], chosen: set[str]) -> set[str]:
    """The recorded keys that do not hold any more, with what the person has chosen anew."""
    replaced = {*chosen, "resume"}
    if "experts" in chosen:
        replaced |= {"height", "width", "num_frames", "fps"}
        replaced |= {
            f"long_video.{key}" for key in ("segment_frames", "window_overlap", "turn")
        }  # as these have it
    if "structure.video" in chosen:
        replaced.add("structure.sha256")
    if chosen & {"prompt_file", "prompts_file"}:
        replaced.add("prompt")
    segment, frames = config.get("long_video", {}).get("segment_frames"), config.get("num_frames")
    if "num_frames" in chosen and frames == segment:  # it was one segment because it was short
        replaced |= {"long_video.segment_frames", "long_video.window_overlap"}
    return replaced


def read_record(path: Path) -> dict[str, Any]:
    """What is recorded of a video: from the run folder, or from the MP4's comment. Raises ConfinerError."""
    import json

    from confiner_cli.media.video import read_comment
    from confiner_cli.runs.record import read_run

    if path.is_dir():
        return read_run(path)
    if not path.is_file():
        raise ConfinerError(f"there is no {path}", "name a video.mp4 or a run folder")
    comment = read_comment(path)
    try:
        facts: dict[str, Any] = json.loads(comment or "")
        facts["config"]["experts"]
    except (ValueError, KeyError, TypeError) as error:
        if (path.parent / "run.json").is_file():
            return read_run(path.parent)
        raise ConfinerError(
            f"{path} does not say how it was made",
            "it needs the comment of a confiner video, or its run.json beside it",
        ) from error
    return facts


def _unrecorded(config: dict[str, Any]) -> dict[str, Any]:
    """What an older record does not say of experts and scheduler: as if there were no such setting, not as today's."""
    scheduler = dict(
        _leaves({"scheduler": asdict(SchedulerSettings())} if "scheduler" in config else {})
    )
    turn = {} if "turn" in config.get("experts", {}) else {"experts.turn": False}
    recorded_roles = [
        role for role in ROLES if isinstance(config.get("experts", {}).get(role), dict)
    ]
    return scheduler | turn | {
        f"experts.{role}.{key}": value
        for role in recorded_roles for key, value in asdict(unstated()).items() if value != MISSING
    }  # fmt: skip


def _leaves(node: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    nodes = {known.rpartition(".")[0] for known in known_keys(Settings)}
    for key, value in node.items():
        if isinstance(value, dict) and prefix + key in nodes:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _value(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{','.join(_value(item) for item in value)}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{key}:{_value(item)}' for key, item in value.items())}}}"
    return quoted(value) if isinstance(value, str) else repr(value)
