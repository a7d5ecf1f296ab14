"""Where the YAML files are. Imports nothing: `--help` lists what can be chosen."""

from __future__ import annotations

from pathlib import Path


def config_dir() -> Path:
    """The absolute folder of the YAML files: beside the package in a checkout, else inside it.

    Raises:
        FileNotFoundError: it is in neither place.
    """
    package = Path(__file__).resolve().parents[1]
    # The checkout first: an editable install has a copy inside the package that goes stale.
    for folder in (package.parent / "configs", package / "configs"):
        if (folder / "generate.yaml").is_file():
            return folder
    raise FileNotFoundError(f"no configs beside or inside {package}")


def choices(group: str) -> list[str]:
    """The names that a config group has: `experts`, `scheduler`, `long_video`."""
    return sorted(path.stem for path in (config_dir() / group).glob("*.yaml"))
