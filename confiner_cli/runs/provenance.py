"""How a video came to be: what decides its frames, whether a run is the one that is asked for, and
the record that `from=` names.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version
from typing import Any

from confiner_cli.config.flatten import flatten
from confiner_cli.config.hydra import settings_from, settings_with
from confiner_cli.config.overrides import Overrides, parse_overrides
from confiner_cli.config.own_groups import keys_of_own_groups
from confiner_cli.config.places import OURS, ConfigSource
from confiner_cli.config.recorded import recorded_values, replaced_keys
from confiner_cli.config.schema import OF_THE_RUN, Settings
from confiner_cli.errors import ConfinerError
from confiner_cli.files import sha256
from confiner_cli.media.video import read_comment
from confiner_cli.runs.folder import RECORD, resume_command
from confiner_cli.runs.record import FORMAT, RunRecord, read_run, record_of
from confiner_cli.runs.weights import changed_files, without_places

PACKAGES = (
    "confiner",
    "torch",
    "diffusers",
    "tokenizers",
    "transformers",
    "peft",
    "hydra-core",
    "imageio-ffmpeg",
)
NOT_OF_THE_VIDEO = {"output.dir", "output.metadata", *OF_THE_RUN}
"""Where a run goes and how it is told: another run of the same video may have others."""


def begun(settings: Settings, device: str, batch: int = 0) -> RunRecord:
    """The first record of a run of decided settings."""
    config = plain(settings)
    return RunRecord(
        format=FORMAT,
        status="running",
        **prompting(config),
        config=config,
        versions=versions(),
        device=device,
        batch=batch,
    )


def plain(settings: Settings) -> dict[str, Any]:
    """Settings as JSON has them: keys are text, and a video without an end has `"inf"` frames."""
    config: dict[str, Any] = json.loads(json.dumps(asdict(settings)))
    if settings.num_frames == math.inf:
        config["num_frames"] = "inf"
    return config


def prompting(config: Mapping[str, Any]) -> dict[str, Any]:
    """What of a config a record says first."""
    return {key: config[key] for key in ("prompt", "negative_prompt", "prompts", "seed")}


def recipe(settings: Settings, weights: Mapping[str, Any]) -> str:
    """What decides the frames, as ASCII JSON: the comment of the video, which `from=` reads.

    Args:
        settings: whole.
        weights: as run.json has them; of files the names are kept, and not their places.
    """
    config = plain(settings)
    for key in ("output", *OF_THE_RUN):
        config.pop(key, None)
    facts = {"format": FORMAT, **prompting(config), "config": config, "versions": versions()}
    facts["weights"] = without_places(weights)
    return json.dumps(facts, ensure_ascii=True)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide the frames."""
    return {"python": python_version(), **{name: _version(name) for name in PACKAGES}}


@functools.cache  # to look one up reads files of the package
def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def differences(recorded: Mapping[str, Any], settings: Settings) -> list[str]:
    """The dotted keys in which settings differ from recorded ones.

    A key that an older record does not have is no difference.
    """
    before, now = flatten(recorded), flatten(plain(settings))
    keys = sorted({*before, *now} - NOT_OF_THE_VIDEO)
    return [key for key in keys if before.get(key, now.get(key)) != now.get(key)]


def is_finished(folder: Path, settings: Settings) -> bool:
    """Whether a folder has the run of these settings, finished and untouched.

    Raises:
        ConfinerError: the folder has a run of other settings, or of other weights.
    """
    if not (folder / RECORD).exists():
        return False
    record = read_run(folder)
    if not record.config:
        raise ConfinerError(
            f"the run in {folder} was refused before it began", "name a new output.dir="
        )
    if record.stopped_at:  # a video without an end has been given one
        settings = replace(settings, num_frames=record.stopped_at)
    changed = differences(record.config, settings)
    if changed:
        raise ConfinerError(
            f"{folder} has a run with other settings: {', '.join(changed)} differ",
            "name a new output.dir=, or go on with the old settings: " + resume_command(folder),
        )
    if not is_whole(folder, record):
        return False
    for path in changed_files(record.weights):
        raise ConfinerError(
            f"{folder} has a run with other weights: {path} has changed since",
            "name a new output.dir=, or put the old file back",
        )
    return True


def is_whole(folder: Path, record: RunRecord) -> bool:
    """Whether a run is done and all of its files are as they were then."""
    if record.status != "done" or not record.files:
        return False
    for name, digest in record.files.items():
        path = folder / name
        if not path.exists() or sha256(path) != digest:
            return False
    return True


def read_record(path: Path) -> RunRecord:
    """What is recorded of a video: from the run folder, or from the video's comment.

    Raises:
        ConfinerError: there is no such file, or it does not say how it was made.
    """
    if path.is_dir():
        return read_run(path)
    if not path.is_file():
        raise ConfinerError(f"there is no {path}", "name a video.mp4 or a run folder")
    try:
        facts = json.loads(read_comment(path) or "")
        facts["config"]["experts"]
    except (ValueError, KeyError, TypeError) as error:
        if (path.parent / RECORD).is_file():
            return read_run(path.parent)
        raise ConfinerError(
            f"{path} does not say how it was made",
            "it needs the comment of a confiner video, or its run.json beside it",
        ) from error
    return record_of(facts)


def recorded_under(overrides: Overrides) -> dict[str, Any] | None:
    """The recorded values that overrides stand on: those of `from=` that they do not replace.

    Raises:
        ConfinerError: there is no record, or it has settings that are not ours.
    """
    path = overrides.record
    if path is None:
        return None
    config = _config_of(path)
    chosen = overrides.chosen | keys_of_own_groups(overrides)
    return recorded_values(config, replaced_keys(config, chosen), str(path))


def recorded_weights(overrides: Overrides) -> Mapping[str, Any]:
    """The weights of the record that `from=` names; empty where there is none.

    Raises:
        ConfinerError: there is no such record.
    """
    return {} if overrides.record is None else read_record(overrides.record).weights


def settings_of(overrides: Overrides) -> Settings:
    """The settings that overrides of one run come to, `from=` among them. Raises as `compose`."""
    return settings_with(overrides.for_hydra(), recorded_under(overrides), overrides.source)


def settings_of_words(words: Sequence[str], source: ConfigSource = OURS) -> Settings:
    """The settings that words of a command line come to, `from=` among them.

    Raises:
        ConfinerError: a word that cannot be read or has no meaning.
    """
    return settings_of(parse_overrides(words, multirun=False, source=source))


def recorded_settings(folder: Path) -> Settings:
    """The settings of a run folder's record, to go on with it there.

    Raises:
        ConfinerError: there is no record, or it has settings that are not ours.
    """
    values = recorded_values(_config_of(folder), {"resume", "output.dir"}, str(folder))
    settings = settings_from(values)
    here = replace(settings.output, dir=str(folder))
    return replace(settings, resume=True, output=here)


def with_recorded_seed(settings: Settings) -> Settings:
    """With the seed that the run to go on with has drawn, where it is left to be drawn."""
    if not settings.resume or settings.seed is not None or settings.output.dir is None:
        return settings
    folder = Path(settings.output.dir).expanduser()
    if not (folder / RECORD).is_file():
        return settings
    return replace(settings, seed=read_run(folder).seed)


def _config_of(path: Path) -> Mapping[str, Any]:
    config = read_record(path).config
    if not config:
        raise ConfinerError(
            f"the record of {path} has no settings", "its run was refused before it began"
        )
    return config
