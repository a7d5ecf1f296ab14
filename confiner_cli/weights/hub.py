"""Models on the hub: found in huggingface_hub's cache without a socket, or downloaded into it, only what is needed.

HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE, HF_TOKEN and HF_ENDPOINT mean what they mean to huggingface_hub.
"""

from __future__ import annotations

import glob
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi, constants, snapshot_download, try_to_load_from_cache

from confiner_cli.errors import ConfinerError
from confiner_cli.weights.checksums import check, verify
from confiner_cli.weights.hub_errors import patiently, readable
from confiner_cli.weights.model_ref import Need, Source
from confiner_cli.weights.select import INDEX, is_whole, needed_files
from confiner_cli.weights.stream_download import transferred

# Its transfers cannot be stopped, and tell nothing that could be shown.
constants.HF_HUB_DISABLE_XET = True


@dataclass(frozen=True)
class Listed:
    """A file of a repository: its size in bytes, and its hash (SHA-256, or git's for small files)."""

    size: int
    hash: str


@dataclass(frozen=True)
class Download:
    """Files of one repository that are not in the cache."""

    source: Source
    files: Mapping[str, Listed]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files.values())

    def arriving(self) -> Iterator[int]:
        """Download the files into the cache, several at once, yielding bytes as they come; hold them against hashes.

        Raises:
            ConfinerError: the hub cannot be reached, refuses, or sends something else.
        """
        patterns = [glob.escape(name) for name in self.files]

        def download(bars: type, go_on: Callable[[], None]) -> str:
            go_on()
            return snapshot_download(
                self.source.repo,
                revision=self.source.revision,
                allow_patterns=patterns,
                tqdm_class=bars,
            )

        with readable(self.source):
            yield from transferred(lambda bars, go_on: patiently(lambda: download(bars, go_on)))
        for name, listed in self.files.items():
            place = _in_cache(self.source, name)
            if place is None:
                raise ConfinerError(
                    f"{self.source} did not send {name}", "try again, or name another revision"
                )
            check(place, listed.hash)


def cache_folder() -> Path:
    """Where huggingface_hub keeps models."""
    return Path(constants.HF_HUB_CACHE)


def cached(need: Need) -> Path:
    """The folder or file of a model on this machine; opens no socket.

    Raises:
        ConfinerError: it is on the hub and not whole in the cache, or a file in the cache is damaged.
    """
    place = found(need)
    if place is None:
        raise ConfinerError(
            f"{need.source} is not on this machine: it is no path, and not in the cache {cache_folder()}",
            "`confiner experts download SET` fetches a set of experts; a local model is named by its folder or file",
        )
    if need.source.path is None:
        verify(files_of(need, place))
    return place


def found(need: Need) -> Path | None:
    """As `cached`, unchecked: None where it is not all there."""
    source = need.source
    if source.path is not None:
        return source.path if source.path.exists() else None
    if source.file:
        return _in_cache(source, source.file)
    marker = _in_cache(source, INDEX) or _in_cache(source, "config.json")
    return marker.parent if marker and _complete(marker.parent, need) else None


def files_of(need: Need, place: Path) -> list[Path]:
    """The files of a model that are needed, where it is in the cache."""
    if place.is_file():
        return [place]
    return [place / name for name in needed_files(_names(place, need), need.parts, need.pickles)]


def missing(need: Need) -> Download | None:
    """What has to be downloaded for a model; the hub is asked only where the cache lacks something.

    Raises:
        ConfinerError: the hub cannot be reached, or has no such repository or file; a file in the cache is damaged.
    """
    source = need.source
    if source.path is not None or found(need) is not None:
        return None
    if constants.is_offline_mode():
        raise ConfinerError(
            f"{source} is not in the cache {cache_folder()}, and HF_HUB_OFFLINE forbids to fetch it",
            "unset HF_HUB_OFFLINE, or run `confiner experts download SET` where there is a network",
        )
    with readable(source):
        info = patiently(
            lambda: HfApi().model_info(source.repo, revision=source.revision, files_metadata=True)
        )
    listing = {
        file.rfilename: Listed(file.size or 0, file.lfs.sha256 if file.lfs else file.blob_id or "")
        for file in info.siblings or ()
    }
    here = {name: _in_cache(source, name, info.sha) for name in _chosen(need, set(listing))}
    verify(place for place in here.values() if place is not None)
    return Download(
        source, {name: listing[name] for name, place in sorted(here.items()) if place is None}
    )


def commit_of(need: Need, place: Path) -> str | None:
    """The commit of a model in the cache; None for a model that is a path."""
    inside = place.parent if need.source.file else place
    return inside.name if need.source.path is None else None


def _in_cache(source: Source, name: str, revision: str | None = None) -> Path | None:
    path = try_to_load_from_cache(source.repo, name, revision=revision or source.revision)
    return Path(path) if isinstance(path, str) and Path(path).exists() else None


def _names(folder: Path, need: Need) -> set[str]:
    """Names relative to a snapshot's folder, of its own files and those of the parts."""
    places = [folder, *(folder / part for part in need.parts)]
    inside = (path for place in places if place.is_dir() for path in place.iterdir())
    return {path.relative_to(folder).as_posix() for path in inside if path.is_file()}


def _complete(folder: Path, need: Need) -> bool:
    names = _names(folder, need)
    if INDEX not in names:  # one part alone
        return is_whole("", names, need.pickles)
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    except ValueError:
        return False  # asking the hub will find it out
    listed = {name for name, kind in index.items() if isinstance(kind, list) and kind[0]}
    return all(is_whole(part, names, need.pickles) for part in listed & set(need.parts))


def _chosen(need: Need, names: set[str]) -> set[str]:
    """The files to fetch. Raises ConfinerError where the repository has them not, or only as pickles."""
    source = need.source
    if source.file:
        if source.file not in names:
            raise ConfinerError(
                f"{source.repo} has no file {source.file}", f"it has {', '.join(sorted(names)[:8])}"
            )
        return {source.file, Path(source.file).with_name("config.json").as_posix()} & names
    parts = {part for part in need.parts if any(name.startswith(f"{part}/") for name in names)}
    for part in sorted(parts) if INDEX in names else ("",):
        if part not in ("tokenizer", "scheduler") and not is_whole(part, names, need.pickles):
            raise ConfinerError(
                f"{source} has no whole safetensors weights{f' in {part}/' if part else ''}",
                f"a single file is named {source.repo}:FILE; experts.<role>.pickles=true takes .bin files, too",
            )
    return set(needed_files(names, need.parts, need.pickles))
