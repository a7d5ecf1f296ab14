"""What is missing of a set of experts: said with its size, licence and place, held against the disk, and fetched."""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from confiner_cli import progress
from confiner_cli.config.schema import Settings
from confiner_cli.errors import ConfinerError
from confiner_cli.weights import hub
from confiner_cli.weights.model_ref import Source, needs

GB = 1e9


def fetch(settings: Settings, roles: Iterable[str]) -> None:
    """Download what the experts of these roles lack. Opens no socket where nothing is missing.

    Raises:
        ConfinerError: the hub cannot be reached, refuses or sends something else; or the disk is too small.
    """
    found: dict[Source, hub.Download] = {}
    licences: dict[Source, str] = {}
    for role in roles:
        expert = settings.expert(role)
        for _, need in needs(role, expert):
            if download := hub.missing(need):
                before = found.get(need.source, download)
                found[need.source] = replace(download, files={**before.files, **download.files})
                licences.setdefault(need.source, expert.licence)
    if not found:
        return
    _check_disk(sum(download.size for download in found.values()))
    for place, download in found.items():
        licence = f", {licences[place]}" if licences[place] else ""
        progress.say(
            f"downloading {place}: {len(download.files)} files, {download.size / GB:.2f} GB{licence}"
        )
        deque(progress.transfer(download.arriving(), download.size), maxlen=0)


def _check_disk(size: int) -> None:
    folder = hub.cache_folder()
    free = shutil.disk_usage(
        next(place for place in (folder, *folder.parents) if place.is_dir())
    ).free
    progress.say(f"{size / GB:.2f} GB go to {folder} ({free / GB:.1f} GB are free there)")
    if size > free:
        raise ConfinerError(
            f"the disk is too small: {size / GB:.2f} GB are needed in {folder}, {free / GB:.2f} GB are free",
            f"free some space, or set HF_HOME to a folder on another disk than {Path(folder.anchor)}",
        )
