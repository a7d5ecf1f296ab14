"""Where the YAML files are: confiner's own, and a person's beside them.

Imports nothing heavy: `--help` lists what can be chosen.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from confiner_cli.config.bounds import did_you_mean
from confiner_cli.errors import ConfinerError

ROOT = "generate"
"""The name of the config that everything begins with."""
_GROUP = re.compile(r"\w[\w-]*(/\w[\w-]*)*")
_DEPTHS = ("", "*/", "*/*/")


@dataclass(frozen=True)
class ConfigSource:
    """Which YAML files are composed.

    Attributes:
        folder: a person's own (`--config-dir`), absolute; it is searched after confiner's.
        root: the name of the config that everything begins with (`--config-name`).
    """

    folder: Path | None = None
    root: str = ROOT

    @property
    def is_own(self) -> bool:
        """Whether some of the files are a person's own."""
        return self.folder is not None or self.root != ROOT

    def has_group(self, name: str) -> bool:
        """Whether the person's folder has configs for this group: `experiment`."""
        if self.folder is None or not _GROUP.fullmatch(name):
            return False
        return any((self.folder / name).glob("*.yaml"))

    def files(self) -> list[Path]:
        """The person's files, for messages: not deeper than two levels."""
        if self.folder is None:
            return []
        return [file for depth in _DEPTHS for file in sorted(self.folder.glob(f"{depth}*.yaml"))]

    def groups(self) -> list[str]:
        """The groups in the person's folder, for messages: not deeper than two levels."""
        names = [str(file.parent.relative_to(self.folder or "")) for file in self.files()]
        return sorted({name for name in names if _GROUP.fullmatch(name)})

    def choices(self, group: str) -> list[str]:
        """The names that a group has in either folder: `experts`, `scheduler`, `experiment`."""
        return sorted({*_names(config_dir(), group), *_names(self.folder, group)})


OURS = ConfigSource()
"""Confiner's own files alone."""


def config_source(folder: str | Path | None = None, root: str | None = None) -> ConfigSource:
    """The files that `--config-dir` and `--config-name` name.

    Raises:
        ConfinerError: there is no such folder or no such config, or a file in the folder would
            never be read.
    """
    own = None if folder is None else _own_folder(folder)
    source = ConfigSource(own, (root or ROOT).removesuffix(".yaml"))
    folders = [config_dir()] if own is None else [config_dir(), own]
    has_root = any((each / f"{source.root}.yaml").is_file() for each in folders)
    if not has_root or Path(source.root).is_absolute():
        raise _no_root(str(root), source)
    return source


def config_dir() -> Path:
    """The absolute folder of confiner's files: beside the package in a checkout, else inside it.

    Raises:
        FileNotFoundError: it is in neither place.
    """
    package = Path(__file__).resolve().parents[1]
    # The checkout first: an editable install has a copy inside the package that goes stale.
    for folder in (package.parent / "configs", package / "configs"):
        if (folder / f"{ROOT}.yaml").is_file():
            return folder
    raise FileNotFoundError(f"no configs beside or inside {package}")


def _own_folder(named: str | Path) -> Path:
    folder = Path(named).expanduser().absolute()
    if not folder.is_dir():
        raise ConfinerError(
            f"--config-dir={named} is no folder", "name a folder with YAML files of your own"
        )
    for ours in sorted(config_dir().rglob("*.yaml")):
        _check_not_hidden(folder, ours)
    return folder


def _check_not_hidden(folder: Path, ours: Path) -> None:
    """Refuse a file that confiner has under the same name, unless it is a copy."""
    name = ours.relative_to(config_dir())
    own = folder / name
    if own.is_file() and own.read_bytes() != ours.read_bytes():
        raise ConfinerError(
            f"{own} is never read: confiner has a {name} of its own, which comes first",
            f"rename it: {name.with_stem(f'my_{name.stem}')}",
        )


def _no_root(named: str, source: ConfigSource) -> ConfinerError:
    path = Path(named).expanduser()
    message = f"there is no config {source.root}.yaml to begin with"
    if path.with_suffix(".yaml").is_file():
        folder = shlex.quote(str(path.parent))
        return ConfinerError(message, f"--config-dir {folder} --config-name {path.stem}")
    if source.folder is None:
        return ConfinerError(message, "name the folder that it is in: --config-dir FOLDER")
    own = sorted(_names(source.folder, ""))
    near = did_you_mean(source.root, own)
    return ConfinerError(message, f"{near}{source.folder} has {', '.join(own) or 'none'}")


def _names(folder: Path | None, group: str) -> set[str]:
    return set() if folder is None else {path.stem for path in (folder / group).glob("*.yaml")}
