"""Prompts' states on disk: what was computed once, as long as nothing that decides it changes."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from support import umt5_files
from support.family_experts import CPU
from support.refusals import refusing
from support.umt5_files import reader

from confiner_cli.experts import prompt_states, umt5_loading
from confiner_cli.experts.prompt_states import PromptStates

IDS = (4, 6, 1)


class Encoder:
    """States of its own for each text; it counts the texts."""

    def __init__(self):
        self.asked = []

    def __call__(self, ids):
        self.asked.append(ids)
        with torch.inference_mode():
            return torch.arange(8.0 * len(ids)).reshape(1, len(ids), 8) + sum(ids)

    def load(self):
        raise AssertionError


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache" / "prompts"


@pytest.fixture
def kept(folder):
    return PromptStates(Encoder(), ("one encoder", torch.float32), CPU, folder)


def again(kept, **changes):
    """As another process has it."""
    return replace(kept, encoder=Encoder(), **changes)


def entries(folder):
    return sorted(folder.glob("*"))


def test_a_text_is_encoded_once_by_all_processes(kept):
    first, other = kept(IDS), again(kept)
    assert torch.equal(other(IDS), first) and torch.equal(kept(IDS), first)
    assert (kept.encoder.asked, other.encoder.asked) == ([IDS], [])


@pytest.mark.parametrize(
    "changes", [{"identity": ("another", torch.float32)}, {"identity": ("one encoder", torch.half)}]
)
def test_of_another_encoder_or_precision_or_text_it_is_encoded_anew(changes, kept):
    kept(IDS)
    other = again(kept, **changes)
    other(IDS)
    kept((4, 1))
    assert (kept.encoder.asked, other.encoder.asked) == ([IDS, (4, 1)], [IDS])


def cut(path):
    path.write_bytes(path.read_bytes()[:-9])


def emptied(path):
    path.write_bytes(b"")


def with_other_tensors(path):
    save_file({"others": torch.ones(1, 3, 8)}, path)


def of_another_length(path):
    save_file({"states": torch.ones(1, 4, 8)}, path)


def a_folder(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [cut, emptied, with_other_tensors, of_another_length, a_folder])
def test_a_damaged_entry_is_made_again(damage, kept, folder):
    first = kept(IDS)
    (path,) = entries(folder)
    damage(path)
    assert torch.equal(kept(IDS), first)
    assert kept.encoder.asked == [IDS, IDS]
    other = again(kept)
    assert torch.equal(other(IDS), first)
    assert other.encoder.asked == ([IDS] if damage is a_folder else [])


def test_without_a_place_for_it_a_text_is_encoded_every_time(kept, tmp_path):
    (tmp_path / "cache").write_text("no folder")
    assert torch.equal(kept(IDS), kept(IDS))
    assert kept.encoder.asked == [IDS, IDS]


def test_a_disk_that_refuses_an_entry_keeps_no_part_of_it(kept, folder, monkeypatch):
    monkeypatch.setattr(prompt_states, "save_tensors", refusing(28))
    kept(IDS)
    assert kept.encoder.asked == [IDS] and entries(folder) == []


def test_an_entry_that_cannot_be_marked_as_used_is_used(kept, monkeypatch):
    kept(IDS)
    monkeypatch.setattr(os, "utime", refusing(30))
    kept(IDS)
    assert kept.encoder.asked == [IDS]


def test_what_was_not_used_for_longest_goes_first_and_nothing_of_others(kept, folder):
    texts = [(number, 1) for number in range(4)]
    for hour, ids in enumerate(texts[:3]):
        kept(ids)
        os.utime(kept._entry(ids), (hour * 3600, hour * 3600))
    kept(texts[0])  # now used last
    size = kept._entry(texts[0]).stat().st_size
    theirs = [folder / "notes.txt", folder / ".x.0123abcd-1.writing.safetensors"]
    for path in theirs:
        path.write_bytes(b"0" * size)
        os.utime(path, (0, 0))
    replace(kept, limit=2 * size)(texts[3])
    left = {kept._entry(ids) for ids in (texts[0], texts[3])}
    assert {path for path in entries(folder) if path not in theirs} == left
    assert theirs[0].exists()


def test_neither_a_prompt_nor_its_tokens_are_written(kept, folder):
    kept(tuple(range(100, 120)))
    (path,) = entries(folder)
    assert len(path.stem) == 64 and set(path.stem) <= set("0123456789abcdef")
    with path.open("rb") as file:
        head = file.read(200)
    assert b"100" not in head and b"states" in head


@pytest.fixture
def umt5(tmp_path, monkeypatch):
    """A folder of UMT5's, in a home where nothing is kept yet; it counts as large."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(umt5_loading, "QUICK", 0)
    return umt5_files.write(tmp_path / "umt5")


def test_for_known_prompts_umt5_is_not_loaded(umt5, folder, monkeypatch):
    first = reader(umt5)
    states = first("a heart").states, first.negative("").states
    assert folder.parent.name == "cache" and len(entries(folder.parent / "confiner/prompts")) == 2
    monkeypatch.setattr(umt5_loading, "_load", refusing(1))
    later = reader(umt5)
    assert torch.equal(later("  a\nheart").states, states[0])  # of the same tokens
    assert torch.equal(later.negative("").states, states[1])
    with pytest.raises(PermissionError):
        later("the heart")


LATER = """
import sys
from pathlib import Path
from confiner_cli.experts import lean_imports
lean_imports.OWN_PROCESS.set(True)
lean_imports.import_libraries()
import torch
from confiner_cli.experts import umt5_loading
from confiner_cli.experts.components import Components
from confiner_cli.experts.offload import POLICIES, NetworkCache
from confiner_cli.experts.text_loading import text_encoder

umt5_loading.QUICK = 0
components = Components("temporal", (Path(sys.argv[1]),), torch.device("cpu"), torch.float32)
text_encoder(components, POLICIES["high"], NetworkCache())("a heart")
sys.exit("transformers" in sys.modules)
"""


@pytest.mark.thorough
def test_for_known_prompts_another_process_imports_no_transformers(umt5):
    reader(umt5)("a heart")
    subprocess.run([sys.executable, "-c", LATER, str(umt5)], check=True)


@pytest.mark.parametrize("change", ["weights", "precision", "config", "version"])
def test_what_decides_states_decides_whether_they_are_known(change, umt5, monkeypatch):
    reader(umt5)("a heart")
    if change == "weights":
        umt5_files.network(seed=1).save_pretrained(umt5 / "text_encoder")
    if change == "version":
        monkeypatch.setattr(umt5_loading, "version", lambda package: "9.9")
    if change == "config":
        path = umt5 / "text_encoder" / "config.json"
        path.write_text(path.read_text().replace('"gated-gelu"', '"gated-silu"'))
    monkeypatch.setattr(umt5_loading, "_load", refusing(1))
    with pytest.raises(PermissionError):
        reader(umt5, torch.bfloat16 if change == "precision" else torch.float32)("a heart")


def test_a_small_umt5_keeps_nothing(umt5, tmp_path, monkeypatch):
    monkeypatch.setattr(umt5_loading, "QUICK", 2**20)
    reader(umt5)("a heart")
    assert not (tmp_path / "cache").exists()


def test_without_a_home_a_prompt_is_encoded_all_the_same(umt5, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    assert reader(umt5)("a heart").states.shape == (1, 512, umt5_files.WIDTH)
