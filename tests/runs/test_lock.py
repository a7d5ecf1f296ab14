"""A run folder belongs to one process at a time, and to nobody once that process is gone."""

import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys

import pytest
from support.refusals import refusing

from confiner_cli.errors import ConfinerError
from confiner_cli.progress import say_once
from confiner_cli.runs.journal import Journal
from confiner_cli.runs.lock import is_locked, locked

HOLDER = """
import sys, time
from pathlib import Path
from confiner_cli.runs.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(folder):
    """A process that has the folder's lock until it is killed or its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"held\n"
    return process


def test_a_folder_is_locked_in_the_body_only_and_nothing_is_left_in_it(tmp_path):
    assert not is_locked(tmp_path)
    with locked(tmp_path):
        assert is_locked(tmp_path)
    assert not is_locked(tmp_path)
    assert not any(tmp_path.iterdir())


def test_an_error_in_the_body_lets_go_of_the_lock(tmp_path):
    with pytest.raises(KeyboardInterrupt), locked(tmp_path):
        raise KeyboardInterrupt
    with locked(tmp_path):
        pass
    assert not any(tmp_path.iterdir())


def test_a_second_holder_is_refused_with_the_name_of_the_first(tmp_path):
    with holder(tmp_path) as process:
        assert is_locked(tmp_path)
        with pytest.raises(ConfinerError) as refused, locked(tmp_path):
            pass
        process.stdin.close()
    name = f"process {process.pid} on {socket.gethostname()}"
    assert str(refused.value) == f"output.dir={tmp_path} is in use by another run, {name}"
    assert not any(tmp_path.iterdir())


def test_a_killed_holder_leaves_no_lock(tmp_path):
    with holder(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
    assert (tmp_path / ".lock").exists()
    assert not is_locked(tmp_path)
    with locked(tmp_path):
        assert (
            tmp_path / ".lock"
        ).read_text() == f"process {os.getpid()} on {socket.gethostname()}\n"
    assert not any(tmp_path.iterdir())


def test_to_ask_whether_a_folder_is_locked_changes_nothing(tmp_path):
    is_locked(tmp_path)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_disk_without_locks_is_told_of_once_and_used(tmp_path, monkeypatch, capsys, number):
    say_once.cache_clear()
    monkeypatch.setattr(fcntl, "flock", refusing(number))
    entered = []
    for _ in range(2):
        with locked(tmp_path):
            entered.append(number)
    assert entered == [number, number] and not any(tmp_path.iterdir())
    (notice,) = capsys.readouterr().err.splitlines()
    assert notice.startswith("notice: the disk has no file locks")
    assert not is_locked(tmp_path)


def test_a_disk_that_fails_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", refusing(errno.EIO))
    with pytest.raises(OSError, match="Input/output"), locked(tmp_path):
        pass


def test_a_folder_that_nothing_can_be_written_in_needs_no_lock(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "open", refusing(errno.EROFS))
    with locked(tmp_path):
        pass


def test_a_file_that_another_has_and_that_may_not_be_opened_is_no_free_folder(
    tmp_path, monkeypatch
):
    (tmp_path / ".lock").touch()
    monkeypatch.setattr(os, "open", refusing(errno.EACCES))
    with pytest.raises(PermissionError), locked(tmp_path):
        pass


def test_a_lock_that_has_no_room_for_its_holder_s_name_is_one(tmp_path, monkeypatch):
    monkeypatch.setattr("pathlib.Path.write_text", refusing(errno.ENOSPC))
    with locked(tmp_path):
        assert is_locked(tmp_path)


def test_a_journal_is_kept_where_the_disk_cannot_be_told_to_write(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", refusing(errno.EINVAL))
    (tmp_path / "part").write_text("a part")
    Journal(tmp_path).add(tmp_path / "part")
    assert Journal(tmp_path).has(tmp_path / "part")
