"""A video is of one set of weights: they are known by content, recorded, and held against it."""

from __future__ import annotations

import json
import os
from contextlib import chdir

import pytest
import torch
from safetensors.torch import save_file
from support.command_line import PROMPT, SMALLEST, confiner, facts_of, generate

from confiner_cli import load
from confiner_cli.media.video import read_comment
from confiner_cli.runs import execute
from confiner_cli.runs.weights import changed_files, changed_parts
from confiner_cli.weights import identity
from confiner_cli.weights.identity import content_hash

WORDS = (PROMPT, "seed=3", *SMALLEST)


def save_style(path, seed):
    """A LoRA of the embedded spatial expert, saved under its name."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {
        "unet.conv_in.lora_A.weight": torch.randn(2, 4, 3, 3, generator=generator),
        "unet.conv_in.lora_B.weight": torch.randn(64, 2, 1, 1, generator=generator),
    }
    save_file(tensors, path)
    return path


@pytest.fixture
def style(tmp_path):
    return save_style(tmp_path / "style.safetensors", seed=1)


def styled(style):
    return f"experts.spatial.loras=[{{path: {style}}}]"


@pytest.fixture
def interrupted(style, tmp_path, monkeypatch):
    """A run that was stopped when its frames were made."""

    def stop(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(execute, "write_contact_sheet", stop)
        ending = generate(*WORDS, styled(style), f"output.dir={tmp_path / 'run'}")
    assert ending.code == 130
    return tmp_path / "run"


def test_a_run_is_gone_on_with_by_its_own_weights_only(interrupted, style):
    before = style.read_bytes()
    save_style(style, seed=2)
    refused = confiner("resume", str(interrupted))
    assert refused.code == 2
    assert f"experts.spatial loras.0: {style} was " in refused.err
    assert "put the old file back" in refused.err
    style.write_bytes(before)
    assert confiner("resume", str(interrupted)).code == 0
    assert facts_of(interrupted)["status"] == "done"


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A finished run whose LoRA was named by a relative path, and the LoRA."""
    place = tmp_path_factory.mktemp("weights")
    style = save_style(place / "style.safetensors", seed=1)
    with chdir(place):
        ending = generate(*WORDS, styled("style.safetensors"), "output.dir=run")
    return ending.folder, style


@pytest.fixture
def saved_anew(done):
    folder, style = done
    before = style.read_bytes()
    save_style(style, seed=2)
    yield folder, style
    style.write_bytes(before)


def test_every_part_is_recorded_with_its_files_and_their_hashes(done):
    folder, style = done
    facts = facts_of(folder)
    assert facts["weights"]["spatial"].keys() == {
        "unet", "text_encoder", "tokenizer", "vae", "loras.0",
    }  # fmt: skip
    assert facts["weights"]["spatial"]["loras.0"] == {str(style): content_hash(style)}
    assert facts["config"]["experts"]["spatial"]["loras"][0]["path"] == str(style)


def test_the_video_says_the_hashes_and_not_where_files_were(done):
    folder, style = done
    said = json.loads(read_comment(folder / "video.mp4"))["weights"]["spatial"]
    assert said["loras.0"] == {"style.safetensors": content_hash(style)}
    assert not any("/" in name for files in said.values() for name in files)


def test_a_finished_run_is_not_the_one_that_other_weights_would_make(done, saved_anew):
    folder, style = saved_anew
    again = generate(*WORDS, styled(style), f"output.dir={folder}", "resume=true")
    assert again.code == 2
    assert f"{style} has changed since" in again.err
    told = confiner("resume", str(folder))
    assert told.code == 0
    assert f"notice: {style} has changed since this video was made" in told.err


@pytest.mark.parametrize("record", ["", "video.mp4"])
def test_a_record_that_is_repeated_with_other_weights_says_so(record, saved_anew, tmp_path):
    again = generate(f"from={saved_anew[0] / record}", f"output.dir={tmp_path / 'again'}")
    assert again.code == 0, again.err
    told = [line for line in again.err.splitlines() if line.startswith("notice: ")]
    assert len(told) == 1
    assert "not the weights of the record: experts.spatial loras.0" in told[0]


def test_a_record_that_is_repeated_with_its_own_weights_says_nothing(done, tmp_path):
    again = generate(f"from={done[0]}", f"output.dir={tmp_path / 'again'}")
    assert "notice: not the weights" not in again.err
    first, second = (facts_of(folder)["files"] for folder in (done[0], again.folder))
    assert first["video.mp4"] == second["video.mp4"]


def test_a_file_saved_anew_is_read_anew_by_the_same_owner(style):
    words = [word for word in SMALLEST if not word.startswith("scheduler=")]
    with load("tiny", *words, styled(style), scheduler="spatial_alone") as confiner_:
        prompt = PROMPT.partition("=")[2]
        first = confiner_.generate(prompt, seed=3)
        assert torch.equal(first.frames, confiner_.generate(prompt, seed=3).frames)
        save_style(style, seed=2)
        second = confiner_.generate(prompt, seed=3)
    assert not torch.equal(first.frames, second.frames)
    assert first.weights["spatial"] != second.weights["spatial"]


def test_a_part_that_moved_is_no_change():
    before = {"spatial": {"unet": {"/old/a.safetensors": "1", "/old/config.json": "2"}}}
    moved = {"spatial": {"unet": {"/new/a.safetensors": "1", "/new/config.json": "2"}}}
    other = {"spatial": {"unet": {"/new/a.safetensors": "1", "/new/config.json": "3"}}}
    assert not list(changed_parts(before, moved))
    assert list(changed_parts(before, other)) == [
        "experts.spatial unet: /new/config.json was 2, is 3"
    ]
    assert not list(changed_parts({}, other))
    assert not list(changed_files(before))


def test_a_large_file_is_hashed_once_until_it_changes(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(identity, "SETTLED", -1.0)
    hashed = []

    def counted(path):
        hashed.append(path)
        return sha256(path)

    sha256 = identity.sha256
    monkeypatch.setattr(identity, "sha256", counted)
    path = tmp_path / "large.safetensors"
    path.write_bytes(bytes(identity.SMALL))
    first = content_hash(path)
    assert content_hash(path) == first
    assert len(hashed) == 1
    facts = path.stat()
    path.write_bytes(bytes(identity.SMALL - 1) + b"1")
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert content_hash(path) != first


def test_a_file_that_was_just_written_leaves_no_note(tmp_path, monkeypatch):
    """It may be written again within the same tick of the file system's clock."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "large.safetensors"
    path.write_bytes(bytes(identity.SMALL))
    content_hash(path)
    assert not (tmp_path / "cache").exists()


def test_without_a_home_files_are_hashed_each_time(tmp_path, monkeypatch):
    monkeypatch.setattr(identity, "SETTLED", -1.0)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)

    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(identity.Path, "home", homeless)
    path = tmp_path / "large.safetensors"
    path.write_bytes(bytes(identity.SMALL))
    assert content_hash(path) == content_hash(path) == identity.sha256(path)
