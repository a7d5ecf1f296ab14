"""Models on the hub: found in huggingface_hub's cache without a socket, or downloaded into it, only what is needed.

HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE, HF_TOKEN and HF_ENDPOINT mean what they mean to huggingface_hub.
"""

from __future__ import annotations

import glob
import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from huggingface_hub import HfApi, constants, snapshot_download, try_to_load_from_cache
from huggingface_hub import errors as hub_errors

from confiner_cli.errors import ConfinerError
from confiner_cli.experts.source import Need, Source
from confiner_cli.experts.transfer import transferred
from confiner_cli.experts.verified import verify
from confiner_cli.experts.weights import choice

INDEX = "model_index.json"
TOKENIZERS = ({"tokenizer.json"}, {"vocab.json", "merges.txt"})
PAUSES = (1.0, 2.0, 4.0)
"""Seconds before the hub is asked again after it, or the way to it, has failed."""
HTTPError: type[Exception] = hub_errors.HfHubHTTPError.__bases__[0]
"""What the hub's own client raises where there is no way to it."""
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Download:
    """Files of one repository that are not in the cache, with their sizes in bytes."""

    source: Source
    files: Mapping[str, int]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(self.files.values())

    def arriving(self) -> Iterator[int]:
        """Download the files into the cache, several at once, yielding bytes as they come; hold them against hashes.

        Raises:
            ConfinerError: the hub cannot be reached, refuses, or sends something else.
        """
        patterns = [glob.escape(name) for name in self.files]

        def download(bars: type) -> str:
            return snapshot_download(
                self.source.repo, revision=self.source.revision, allow_patterns=patterns, tqdm_class=bars
            )

        with _readable(self.source):
            yield from transferred(lambda bars: _patiently(lambda: download(bars)))
        places = {name: _in_cache(self.source, name) for name in self.files}
        if absent := [name for name, place in places.items() if place is None]:
            raise ConfinerError(f"{self.source} did not send {absent[0]}", "try again, or name another revision")
        verify(place for place in places.values() if place is not None)


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


def files_of(need: Need, place: Path) -> Iterator[Path]:
    """The files of a model that are needed."""
    folders = [place, *(place / part for part in need.parts)]
    yield from [place] if place.is_file() else []
    for folder in folders:
        if folder.is_dir():
            yield from (path for path in sorted(folder.iterdir()) if path.is_file())


def missing(need: Need) -> Download | None:
    """What has to be downloaded for a model; the hub is asked only where the cache lacks something.

    Raises:
        ConfinerError: the hub cannot be reached, or has no such repository or file.
    """
    source = need.source
    if source.path is not None or found(need) is not None:
        return None
    if constants.is_offline_mode():
        raise ConfinerError(
            f"{source} is not in the cache {cache_folder()}, and HF_HUB_OFFLINE forbids to fetch it",
            "unset HF_HUB_OFFLINE, or run `confiner experts download SET` where there is a network",
        )
    with _readable(source):
        info = _patiently(lambda: HfApi().model_info(source.repo, revision=source.revision, files_metadata=True))
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
    return Download(source, {name: sizes[name] for name in sorted(_chosen(need, sizes))})


def _in_cache(source: Source, name: str) -> Path | None:
    path = try_to_load_from_cache(source.repo, name, revision=source.revision)
    return Path(path) if isinstance(path, str) else None


def _complete(folder: Path, need: Need) -> bool:
    if not (folder / INDEX).is_file():  # one part alone
        return choice(_names(folder), need.pickles) is not None
    index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    listed = {name for name, kind in index.items() if isinstance(kind, list) and kind[0]}
    return all(_whole(part, _names(folder / part), need.pickles) for part in listed & set(need.parts))


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def _whole(part: str, names: set[str], pickles: bool) -> bool:
    if part == "tokenizer":
        return any(kind <= names for kind in TOKENIZERS)
    return "scheduler_config.json" in names if part == "scheduler" else choice(names, pickles) is not None


def _chosen(need: Need, names: Collection[str]) -> Iterator[str]:
    """The files to fetch: configs, tokenizers, and one kind of weights; never a pickle where none was asked for."""
    source = need.source
    if source.file:
        if source.file not in names:
            raise ConfinerError(f"{source.repo} has no file {source.file}", f"it has {', '.join(sorted(names)[:8])}")
        beside = str(Path(source.file).with_name("config.json"))
        yield from {source.file, beside} & set(names)
        return
    if INDEX not in names:
        yield from _of_part(need, "", names)
        return
    yield INDEX
    for part in need.parts:
        inside = {name.removeprefix(f"{part}/") for name in names if name.startswith(f"{part}/")}
        if inside:
            yield from (f"{part}/{name}" for name in _of_part(need, part, inside))


def _of_part(need: Need, part: str, names: Collection[str]) -> Iterator[str]:
    if part in ("tokenizer", "scheduler"):
        yield from (name for name in names if name.endswith((".json", ".txt")) and "/" not in name)
        return
    chosen = choice(names, need.pickles)
    if chosen is None or "config.json" not in names:
        raise ConfinerError(
            f"{need.source} has no whole safetensors weights{f' in {part}/' if part else ''}",
            "name another revision or repository; experts.<role>.pickles=true takes .bin files, read with weights_only",
        )
    yield "config.json"
    yield from chosen[1]


def _patiently(call: Callable[[], Answer]) -> Answer:
    for pause in PAUSES:
        try:
            return call()
        except (HTTPError, OSError) as error:
            status = getattr(getattr(error, "response", None), "status_code", 503)
            if status < 500:
                raise
            time.sleep(pause)
    return call()


@contextmanager
def _readable(source: Source) -> Iterator[None]:
    """What huggingface_hub has to say, as two lines."""
    where = f"https://huggingface.co/{source.repo}" if constants.ENDPOINT.endswith("huggingface.co") else source.repo
    try:
        yield
    except hub_errors.GatedRepoError as error:
        raise ConfinerError(
            f"{source} is gated: its owner wants you to accept terms",
            f"accept them on {where}, then `hf auth login` or HF_TOKEN=...",
        ) from error
    except hub_errors.RevisionNotFoundError as error:
        raise ConfinerError(
            f"{source.repo} has no revision {source.revision}", "leave out @revision for main"
        ) from error
    except hub_errors.RepositoryNotFoundError as error:
        raise ConfinerError(
            f"{source} is neither a path on this machine nor a repository on the hub (or a private one)",
            "mind the spelling; for a private one `hf auth login` or HF_TOKEN=...",
        ) from error
    except (HTTPError, OSError, hub_errors.HFValidationError, hub_errors.EntryNotFoundError) as error:
        raise ConfinerError(
            f"{source} cannot be fetched: {_first_line(error)}",
            f"is there a network, and a way to {constants.ENDPOINT}? what has arrived is kept: try again",
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
