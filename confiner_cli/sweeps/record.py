"""What a sweep was asked for, as sweep.json has it: with it the sweep can go on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from confiner_cli.config.places import ROOT, ConfigSource
from confiner_cli.errors import ConfinerError
from confiner_cli.files import atomic_write

NAME = "sweep.json"
FORMAT = 1
MOST_SHOWN = 100
"""Characters of a value in a message."""
OF_THE_SWEEP = ("output.dir", "resume")
"""Words that say where a sweep goes, and nothing of its jobs."""
HOW = ("hydra/launcher", "hydra.launcher", "executor", "workers", "threads")
"""Words that say how jobs are carried out, and may be others when a sweep goes on."""


@dataclass(frozen=True)
class SweepRecord:
    """The words of a sweep, and what they stand on.

    Attributes:
        format: of the file.
        words: overrides, as Hydra reads them, without those of `OF_THE_SWEEP`.
        config_dir, config_name: as `--config-dir` and `--config-name` say.
        recorded: values of the record that `from=` names; None without.
        weights: those that this record states.
        attempt: how often it was begun or gone on with.
    """

    format: int = FORMAT
    words: tuple[str, ...] = ()
    config_dir: str | None = None
    config_name: str = ROOT
    recorded: Mapping[str, Any] | None = None
    weights: Mapping[str, Any] = field(default_factory=dict)
    attempt: int = 1

    @property
    def source(self) -> ConfigSource:
        """The YAML files."""
        folder = None if self.config_dir is None else Path(self.config_dir)
        return ConfigSource(folder, self.config_name)

    def write(self, root: Path) -> None:
        """Write sweep.json, whole."""
        with atomic_write(root / NAME) as path:
            path.write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")


def record_for(
    words: Sequence[str],
    source: ConfigSource,
    recorded: Mapping[str, Any] | None,
    weights: Mapping[str, Any],
) -> SweepRecord:
    """The record of a sweep that begins."""
    kept = tuple(word for word in words if key_of(word) not in OF_THE_SWEEP)
    folder = None if source.folder is None else str(source.folder)
    return SweepRecord(FORMAT, kept, folder, source.root, recorded, weights)


def has_sweep(root: Path) -> bool:
    """Whether a folder is a sweep's."""
    return (root / NAME).is_file()


def read_sweep(root: Path) -> SweepRecord:
    """The record of a sweep's folder.

    Raises:
        ConfinerError: there is none that can be read.
    """
    try:
        facts = json.loads((root / NAME).read_text(encoding="utf-8"))
        known = {entry.name for entry in fields(SweepRecord)}
        record = SweepRecord(**{name: facts[name] for name in known & facts.keys()})
        words = tuple(map(str, record.words))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ConfinerError(
            f"{root} is not a sweep's folder: no {NAME} that can be read",
            "each of its jobs can be gone on with: confiner resume JOB_DIR",
        ) from error
    if record.format != FORMAT or not words:
        raise ConfinerError(
            f"{root / NAME} is of another version of confiner",
            "each of its jobs can be gone on with: confiner resume JOB_DIR",
        )
    return SweepRecord(**{**asdict(record), "words": words})


def differences(before: SweepRecord, now: SweepRecord) -> list[str]:
    """What of a sweep is asked for in another way than it was, a phrase each."""
    old, new = _by_key(before.words), _by_key(now.words)
    changed = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    told = [f"{key} was {_shown(old.get(key))}, is {_shown(new.get(key))}" for key in changed]
    if not changed and list(old) != list(new):
        told.append("the words come in another order, which is that of the jobs")
    if (before.config_dir, before.config_name) != (now.config_dir, now.config_name):
        told.append("the configs are others (--config-dir, --config-name)")
    if before.recorded != now.recorded:
        told.append("the record that from= names is another")
    return told


def merged(before: SweepRecord, how: Sequence[str]) -> SweepRecord:
    """A record whose jobs are carried out as other words say, where they say so."""
    chosen = [word for word in how if _is_how(key_of(word))]
    if not chosen:
        return before
    names = {key_of(word) for word in chosen}
    kept = [word for word in before.words if key_of(word) not in names]
    if "hydra/launcher" in names:  # what was said of the old one
        kept = [word for word in kept if not key_of(word).startswith("hydra.launcher")]
    return SweepRecord(**{**asdict(before), "words": (*kept, *chosen)})


def key_of(word: str) -> str:
    """The key of an override: `seed` of `++seed=1,2`."""
    return word.lstrip("+~").partition("=")[0].partition("@")[0]


def _is_how(key: str) -> bool:
    return key in HOW or key.startswith("hydra.launcher.")


def _by_key(words: Sequence[str]) -> dict[str, str]:
    parted = [(key_of(word), word.partition("=")[2]) for word in words]
    return {key: value for key, value in parted if not _is_how(key)}


def _shown(value: str | None) -> str:
    if value is None:
        return "not said"
    return value if len(value) <= MOST_SHOWN else f"{value[:MOST_SHOWN]}... ({len(value)} letters)"
