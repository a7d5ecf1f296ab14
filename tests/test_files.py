"""Files appear whole or not at all, and nothing is left of what was written on the way."""

import errno
import os
import stat
import subprocess
import sys

import pytest
from support.refusals import refusing

from confiner_cli.files import (
    ABANDONED,
    atomic_write,
    sweep,
    temporary_beside,
    temporary_folder_beside,
)
from confiner_cli.progress import say_once


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_was_written_takes_the_place_of_the_old_file_only_at_the_end(tmp_path):
    path = tmp_path / "run.json"
    path.write_text("old")
    with atomic_write(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert names(tmp_path) == ["run.json"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "run.json"
    path.write_text("old")
    with pytest.raises(error), atomic_write(path) as temporary:
        temporary.write_text("half of the n")
        raise error
    assert path.read_text() == "old"
    assert names(tmp_path) == ["run.json"]


def test_the_bytes_are_on_the_disk_before_they_have_the_name(tmp_path, monkeypatch):
    path = tmp_path / "run.json"
    synced = []
    sync = os.fsync

    def watched(descriptor):
        synced.append((os.fstat(descriptor).st_ino, path.exists()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    with atomic_write(path) as temporary:
        temporary.write_text("new")
    file, folder = path.stat().st_ino, tmp_path.stat().st_ino
    assert synced == [(file, False), (folder, True)]


def test_a_temporary_file_keeps_the_suffix_and_is_gone_afterwards(tmp_path):
    with temporary_beside(tmp_path / "video.mp4") as temporary:
        assert (temporary.parent, temporary.suffix) == (tmp_path, ".mp4")
        assert temporary.name.startswith(".")
        temporary.write_text("parts")
    assert names(tmp_path) == []


def test_a_temporary_file_may_be_given_a_name_of_its_own(tmp_path):
    with temporary_beside(tmp_path / "short.mp4") as temporary:
        temporary.write_text("content")
        temporary.replace(tmp_path / "long.mp4")
    assert names(tmp_path) == ["long.mp4"]


@pytest.fixture
def umask():
    """The process's umask for one test: new files are 0640."""
    before = os.umask(0o027)
    yield
    os.umask(before)


def test_a_file_has_the_mode_of_the_persons_other_files_whatever_the_writer_gave_it(
    tmp_path, umask
):
    path = tmp_path / "latents.safetensors"
    with atomic_write(path) as temporary:
        own = tmp_path / "own"
        own.touch(mode=0o600)
        own.replace(temporary)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_folder_for_temporary_files_is_gone_with_all_that_a_writer_left_in_it(tmp_path):
    with temporary_folder_beside(tmp_path / "big.safetensors") as folder:
        (folder / ".tmpX1Y2").write_text("half of")
    assert names(tmp_path) == []


def test_what_dead_processes_were_writing_is_swept_and_nothing_else(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    ours, gone = names_of_writers(tmp_path, os.getppid()), names_of_writers(tmp_path, dead.pid)
    kept = {*ours, "video.mp4", ".video.writing.mp4", ".0badcafe-1.hidden"}
    for name in (*kept, *gone):
        (tmp_path / name).write_text("half of")
    folder = tmp_path / f".big.{gone[0].split('.')[2]}.writing"
    folder.mkdir()
    (folder / ".tmpX1Y2").write_text("half of")
    sweep(tmp_path)
    assert set(names(tmp_path)) == kept


def names_of_writers(folder, process):
    """How temporary files of a process on this machine are called."""
    with temporary_beside(folder / "video.mp4") as temporary:
        return [temporary.name.replace(f"-{os.getpid()}.", f"-{process}.")]


def test_files_of_another_machine_are_swept_when_they_are_old(tmp_path):
    young, old = tmp_path / ".a.00000000-1.writing.mp4", tmp_path / ".b.00000000-1.writing.mp4"
    for path in (young, old):
        path.touch()
    past = old.stat().st_mtime - ABANDONED - 60
    os.utime(old, (past, past))
    sweep(tmp_path)
    assert names(tmp_path) == [young.name]


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.ENOSYS])
def test_a_disk_that_cannot_be_told_to_write_is_told_of_once_and_used(
    tmp_path, monkeypatch, capsys, number
):
    say_once.cache_clear()
    monkeypatch.setattr(os, "fsync", refusing(number))
    for name in ("one", "other"):
        with atomic_write(tmp_path / name) as temporary:
            temporary.write_text("new")
    assert names(tmp_path) == ["one", "other"]
    (notice,) = capsys.readouterr().err.splitlines()
    assert notice.startswith("notice: ") and os.strerror(number) in notice


def test_a_folder_that_may_be_written_and_not_read_is_enough(tmp_path, monkeypatch):
    open_file = os.open

    def opened(path, *arguments):
        if path == tmp_path:
            raise PermissionError(errno.EACCES, "Permission denied")
        return open_file(path, *arguments)

    monkeypatch.setattr(os, "open", opened)
    with atomic_write(tmp_path / "run.json") as temporary:
        temporary.write_text("new")
    assert names(tmp_path) == ["run.json"]


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_has_lost_bytes_is_an_error(tmp_path, monkeypatch, number):
    monkeypatch.setattr(os, "fsync", refusing(number))
    with pytest.raises(OSError), atomic_write(tmp_path / "run.json") as temporary:
        temporary.write_text("new")
    assert names(tmp_path) == []
