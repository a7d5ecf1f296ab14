"""Files of the cache are held against their hashes, also where nothing can be remembered of it."""

import errno
import hashlib
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.refusals import refusing

from confiner_cli.errors import ConfinerError
from confiner_cli.weights import checksums, download


def no_home():
    raise RuntimeError("Could not determine home directory.")


no_entry = refusing(errno.EACCES)


@pytest.fixture
def blob(tmp_path):
    path = tmp_path / hashlib.sha256(b"weights").hexdigest()
    path.write_bytes(b"weights")
    return path


@pytest.fixture(params=["no home", "no entry", "no place"])
def _without_marks(request, tmp_path, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if request.param == "no home":
        monkeypatch.setattr(Path, "home", no_home)
        return
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if request.param == "no entry":
        monkeypatch.setattr(Path, "exists", no_entry)
    monkeypatch.setattr(Path, "mkdir", no_entry)


@pytest.mark.usefixtures("_without_marks")
def test_without_a_place_for_marks_files_are_hashed_each_time(blob):
    for _ in range(2):
        checksums.verify_files([blob])
    blob.write_bytes(b"wights")
    with pytest.raises(ConfinerError, match="was damaged"):
        checksums.verify_files([blob])
    assert blob.name not in {path.name for path in blob.parent.iterdir()}


def test_a_damaged_file_that_cannot_be_removed_is_told_as_damaged(blob, monkeypatch):
    blob.write_bytes(b"wights")
    monkeypatch.setattr(Path, "unlink", no_entry)
    with pytest.raises(ConfinerError, match=r"is damaged.*cannot be removed") as refused:
        checksums.verify_file(blob)
    assert str(blob) in refused.value.hint


@pytest.mark.parametrize(
    "usage", [refusing(errno.ENOSYS), lambda folder: SimpleNamespace(total=0, used=0, free=0)]
)
def test_a_disk_that_does_not_say_how_much_is_free_is_tried(monkeypatch, usage, capsys):
    monkeypatch.setattr(shutil, "disk_usage", usage)
    download._check_disk(10**9)
    assert capsys.readouterr().err.startswith("1.00 GB go to ")
