"""What is missing of a set of experts: said with its size, licence and place, and fetched."""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from confiner_cli import progress
from confiner_cli.errors import ConfinerError
from confiner_cli.weights import hub
from confiner_cli.weights.model_ref import ModelRef, Requirement

GB = 1e9


def fetch(required: Iterable[tuple[Requirement, str]]) -> None:
    """Download what is lacking of these models. Opens no socket where nothing is missing.

    Args:
        required: models, each with its licence as it is published, or "".

    Raises:
        ConfinerError: the hub cannot be reached, refuses or sends something else; or the disk is
            too small.
    """
    downloads: dict[ModelRef, hub.Download] = {}
    licences: dict[ModelRef, str] = {}
    for requirement, licence in required:
        download = hub.missing(requirement)
        if download is None:
            continue
        ref = requirement.ref
        # Two experts may need other components of one repository.
        before = downloads.get(ref, download)
        downloads[ref] = replace(download, files={**before.files, **download.files})
        licences.setdefault(ref, licence)
    if not downloads:
        return
    _check_disk(sum(download.size for download in downloads.values()))
    for ref, download in downloads.items():
        licence = f", {licences[ref]}" if licences[ref] else ""
        count, size = len(download.files), download.size / GB
        progress.say(f"downloading {ref}: {count} files, {size:.2f} GB{licence}")
        deque(progress.transfer(download.arriving(), download.size), maxlen=0)


def _free(folder: Path) -> int | None:
    """Bytes that are free on a folder's disk; None where it does not say, as some of networks."""
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return None
    return usage.free if usage.free or usage.total else None


def _check_disk(size: int) -> None:
    folder = hub.cache_folder()
    existing = next(place for place in (folder, *folder.parents) if place.is_dir())
    free = _free(existing)
    if free is None:
        progress.say(f"{size / GB:.2f} GB go to {folder}")
        return
    progress.say(f"{size / GB:.2f} GB go to {folder} ({free / GB:.1f} GB are free there)")
    if size > free:
        raise ConfinerError(
            f"the disk is too small: {size / GB:.2f} GB are needed in {folder}, "
            f"{free / GB:.2f} GB are free",
            "free some space, or set HF_HOME to a folder on another disk than "
            f"{Path(folder.anchor)}",
        )
