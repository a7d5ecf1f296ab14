"""Downloads that broke off: the next one goes on from what is there, and leaves no partials."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

import pytest
from huggingface_hub.utils import WeakFileLock
from support.published import SD15
from support.stand_in_hub import Fault, StandInHub, in_process

from confiner_cli import progress
from confiner_cli.errors import ConfinerError
from confiner_cli.weights import blob_download, download, hub_listing
from confiner_cli.weights import hub as ours
from confiner_cli.weights.hub_cache import blob_folder
from confiner_cli.weights.model_ref import Requirement, model_ref

UNET = "unet/diffusion_pytorch_model.fp16.safetensors"
WANTED = Requirement(model_ref(SD15), ("unet",))


@dataclass(frozen=True)
class Weights:
    """One file of weights on the hub: its content, and where it goes in the cache."""

    hub: StandInHub
    content: bytes
    blob: Path

    def left(self, count: int, name: str = "") -> Path:
        """Write the first bytes of it as a download leaves them that broke off."""
        self.blob.parent.mkdir(parents=True, exist_ok=True)
        partial = self.blob.with_name(f"{self.blob.name}{name}.incomplete")
        partial.write_bytes(self.content[:count])
        return partial

    def asked_from(self) -> list[int]:
        """The bytes from which on it was asked for, in order; without those asked from 0 on."""
        ranges = [span for path, span in self.hub.ranges if path.endswith(UNET)]
        return [int(span.removeprefix("bytes=").removesuffix("-")) for span in ranges]

    def times_asked(self) -> int:
        asked = [path for method, path in self.hub.requests if method == "GET"]
        return sum(path.endswith(UNET) for path in asked)

    def is_whole_and_alone(self) -> bool:
        """Whether it is in the cache, and nothing else of it."""
        names = {path.name for path in self.blob.parent.iterdir()}
        is_alone = not any(name.endswith(".incomplete") for name in names)
        return is_alone and self.blob.read_bytes() == self.content


@pytest.fixture
def weights(repositories, tmp_path, monkeypatch):
    """The UNet's file, on a hub to which this process's client is turned."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("confiner_cli.weights.hub_errors.PAUSES", (0.0, 0.0))
    with StandInHub(repositories) as running, in_process(running, tmp_path / "home"):
        entry = running.files(SD15)[UNET]
        blob = blob_folder(WANTED.ref) / entry.etag
        yield Weights(running, entry.content, blob)


def fetch() -> int:
    """Download what is missing, and return how many bytes were counted."""
    missing = hub_listing.missing(WANTED)
    assert missing is not None
    return sum(missing.arriving())


def test_what_came_before_a_cut_is_not_fetched_again(weights, capsys):
    weights.hub.faults[SD15, UNET] = Fault("cut")
    with pytest.raises(ConfinerError, match="cannot be fetched"):
        download.fetch([(WANTED, "")])
    assert "are kept; the same command goes on from there" in capsys.readouterr().err
    kept = weights.blob.with_name(f"{weights.blob.name}.incomplete").stat().st_size
    assert kept > len(weights.content) / 2, "each try went on from the one before"
    weights.hub.faults.clear()
    missing = hub_listing.missing(WANTED)
    assert missing.size > missing.kept >= kept
    assert sum(missing.arriving()) == missing.size
    assert weights.asked_from()[-1] == kept
    assert weights.is_whole_and_alone() and ours.found(WANTED)


def test_of_what_huggingface_hub_has_left_the_most_is_used_and_the_rest_removed(weights):
    for count, name in ((3000, ".0123abcd"), (5000, ".89abcdef"), (100, "")):
        weights.left(count, name)
    weights.left(10**6, ".00000000").write_bytes(bytes(len(weights.content) + 1))
    fetch()
    assert weights.asked_from() == [5000]
    assert weights.is_whole_and_alone()


def test_a_partial_with_holes_is_not_gone_on_from(weights):
    with weights.left(10, ".0123abcd").open("r+b") as file:
        file.truncate(len(weights.content) - 1)
    fetch()
    assert weights.asked_from() == [] and weights.is_whole_and_alone()


def test_a_partial_beside_its_whole_file_is_removed_by_the_next_command(weights):
    fetch()
    weights.left(3000, ".0123abcd")
    download.fetch([(WANTED, "")])
    assert weights.is_whole_and_alone()


def test_a_hub_without_ranges_sends_the_file_anew(weights):
    weights.left(3000)
    weights.hub.faults[SD15, UNET] = Fault("whole")
    assert fetch() == ours_size(weights)
    assert weights.asked_from() == [3000] and weights.is_whole_and_alone()


def ours_size(weights) -> int:
    """Bytes of all files that were missing."""
    snapshot = ours.cached(WANTED)
    return sum(path.stat().st_size for path in ours.files_of(WANTED, snapshot))


def test_a_file_that_has_changed_is_not_made_of_two(weights):
    other = weights.blob.with_name(f"{'0' * 64}.incomplete")
    other.parent.mkdir(parents=True)
    other.write_bytes(b"of an earlier revision")
    fetch()
    assert weights.asked_from() == [] and weights.blob.read_bytes() == weights.content


def test_a_partial_of_other_bytes_is_found_out_and_the_next_download_is_whole(weights):
    weights.left(0).write_bytes(b"x" * 3000)
    with pytest.raises(ConfinerError, match="does not have the hash"):
        fetch()
    fetch()
    assert weights.is_whole_and_alone()


def test_a_file_that_another_process_fetches_is_waited_for_and_not_fetched_twice(
    weights, monkeypatch
):
    waiting = threading.Event()
    monkeypatch.setattr(progress, "say", lambda line: waiting.set())
    lock = blob_download.RemoteFile("", weights.blob.name, 0, weights.blob).lock
    lock.parent.mkdir(parents=True)
    thread = threading.Thread(target=fetch)
    with WeakFileLock(lock):
        thread.start()
        assert waiting.wait(timeout=60)
        weights.left(len(weights.content)).replace(weights.blob)
    thread.join(timeout=60)
    assert weights.times_asked() == 0 and weights.is_whole_and_alone()
    assert ours.found(WANTED)


def test_where_the_cache_has_no_links_no_second_copy_stays(weights, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_SYMLINKS", True)
    fetch()
    assert (ours.cached(WANTED) / UNET).read_bytes() == weights.content
    assert not weights.blob.exists()
