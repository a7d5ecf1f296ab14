"""Files of one repository, downloaded into the hub's cache."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from huggingface_hub import snapshot_download

from confiner_cli.errors import ConfinerError
from confiner_cli.weights.blob_download import Advance, fetch_blob, kept_bytes, remote_file
from confiner_cli.weights.checksums import verify_file
from confiner_cli.weights.hub_cache import blob_folder, in_cache
from confiner_cli.weights.hub_errors import retrying, translated
from confiner_cli.weights.model_ref import ModelRef
from confiner_cli.weights.stream_download import StoppedError, stream_download

FILES_AT_ONCE = 8


@dataclass(frozen=True)
class Listed:
    """A file of a repository: its size in bytes and its hash, SHA-256 or git's."""

    size: int
    hash: str


@dataclass(frozen=True)
class Download:
    """Files of one repository that are not in the cache."""

    ref: ModelRef
    files: Mapping[str, Listed]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files.values())

    @property
    def kept(self) -> int:
        """Bytes of them that are there, be it in parts: the download goes on from these."""
        blobs = blob_folder(self.ref)
        there = ((file.size, kept_bytes(blobs / file.hash)) for file in self.files.values())
        return sum(min(sizes) for sizes in there)

    def arriving(self) -> Iterator[int]:
        """Download the files into the cache, several at once, yielding bytes as they come.

        What is there of a file comes first, as one number; a negative one takes it back, where the
        hub sends the file from its beginning. Each is held against its hash afterwards.

        Raises:
            ConfinerError: the hub cannot be reached, refuses, or sends something else.
        """
        with translated(self.ref):
            yield from stream_download(self._fetch)
        for name, listed in self.files.items():
            place = in_cache(self.ref, name)
            if place is None:
                raise ConfinerError(
                    f"{self.ref} did not send {name}", "try again, or name another revision"
                )
            verify_file(place, listed.hash)

    def _fetch(self, bars: type, go_on: Callable[[], None]) -> None:
        """Fetch the contents, then let huggingface_hub give them their names."""
        made = _fetch_blobs(self.ref, self.files, bars(unit="B").update)
        retrying(lambda: self._link(bars, go_on))
        for name, blob in made.items():
            place = in_cache(self.ref, name)
            if place is not None and not place.is_symlink():  # a copy: here are no links
                blob.unlink(missing_ok=True)

    def _link(self, bars: type, go_on: Callable[[], None]) -> str:
        go_on()  # before each new try
        return snapshot_download(
            self.ref.repo,
            revision=self.ref.revision,
            allow_patterns=[glob.escape(name) for name in self.files],
            tqdm_class=bars,
        )


def _fetch_blobs(ref: ModelRef, names: Iterable[str], advance: Advance) -> dict[str, Path]:
    """Fetch the contents of files; the first failure ends them all.

    Returns:
        By name, the contents that were not there before.
    """
    over = Event()
    made: dict[str, Path] = {}

    def told(count: int) -> None:
        if over.is_set():
            raise StoppedError
        advance(count)

    def fetch(name: str) -> None:
        told(0)
        file = retrying(lambda: remote_file(ref, name))
        if file is not None and fetch_blob(file, told):
            made[name] = file.blob

    with ThreadPoolExecutor(FILES_AT_ONCE) as pool:
        try:
            for future in as_completed([pool.submit(fetch, name) for name in names]):
                future.result()
        finally:
            over.set()
    return made
