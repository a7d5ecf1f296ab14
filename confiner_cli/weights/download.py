"""What is missing of a set of experts: said with its size, licence and place, and fetched."""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from confiner_cli import progress
from confiner_cli.errors import ConfinerError, Terminated, is_disk_full
from confiner_cli.weights import hub_listing
from confiner_cli.weights.hub_cache import cache_folder
from confiner_cli.weights.model_ref import ModelRef, Requirement
from confiner_cli.weights.repository_download import Download

ANOTHER_DISK = "free some space, or set HF_HOME to a folder on another disk"


def fetch(required: Iterable[tuple[Requirement, str]]) -> None:
    """Download what is lacking of these models. Opens no socket where nothing is missing.

    What an earlier download has left is gone on from, or removed.

    Args:
        required: models, each with its licence as it is published, or "".

    Raises:
        ConfinerError: the hub cannot be reached, refuses or sends something else; or the disk is
            too small.
    """
    downloads: dict[ModelRef, Download] = {}
    licences: dict[ModelRef, str] = {}
    for requirement, licence in required:
        hub_listing.sweep(requirement)
        download = hub_listing.missing(requirement)
        if download is None:
            continue
        ref = requirement.ref
        # Two experts may need other components of one repository.
        before = downloads.get(ref, download)
        downloads[ref] = replace(download, files={**before.files, **download.files})
        licences.setdefault(ref, licence)
    if not downloads:
        return
    _check_disk(sum(download.size - download.kept for download in downloads.values()))
    with _saying_what_is_kept(downloads.values()):
        for ref, download in downloads.items():
            _announce(download, licences[ref])
            deque(progress.transfer(download.arriving(), download.size), maxlen=0)


def _announce(download: Download, licence: str) -> None:
    facts = [f"{len(download.files)} files", progress.amount(download.size)]
    if download.kept:
        facts.append(f"{progress.amount(download.kept)} of them are here")
    if licence:
        facts.append(licence)
    progress.say(f"downloading {download.ref}: {', '.join(facts)}")


@contextmanager
def _saying_what_is_kept(downloads: Collection[Download]) -> Iterator[None]:
    """However a download breaks off, say what the next one goes on from."""
    try:
        yield
    except (KeyboardInterrupt, Terminated, ConfinerError):
        _say_kept(downloads)
        raise
    except OSError as error:
        if not is_disk_full(error):
            raise
        _say_kept(downloads)
        raise ConfinerError(f"no room left on the disk: {cache_folder()}", ANOTHER_DISK) from error


def _say_kept(downloads: Collection[Download]) -> None:
    kept = sum(download.kept for download in downloads)
    size = sum(download.size for download in downloads)
    if kept:
        progress.say(
            f"{progress.amount(kept)} of {progress.amount(size)} are kept; the same command goes "
            "on from there"
        )


def _free(folder: Path) -> int | None:
    """Bytes that are free on a folder's disk; None where it does not say, as some of networks."""
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return None
    return usage.free if usage.free or usage.total else None


def _check_disk(size: int) -> None:
    folder = cache_folder()
    existing = next(place for place in (folder, *folder.parents) if place.is_dir())
    free = _free(existing)
    if free is None:
        progress.say(f"{progress.amount(size)} go to {folder}")
        return
    progress.say(f"{progress.amount(size)} go to {folder} ({progress.amount(free)} are free there)")
    if size > free:
        raise ConfinerError(
            f"the disk is too small: {progress.amount(size)} are needed in {folder}, "
            f"{progress.amount(free)} are free",
            f"{ANOTHER_DISK} than {Path(folder.anchor)}",
        )
