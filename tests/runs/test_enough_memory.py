"""Too little RAM is told before a network is loaded, and as such where it is met while loading."""

from __future__ import annotations

import math
from errno import ENOMEM
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from support.command_line import confiner

from confiner_cli.config.resolve import resolve
from confiner_cli.costs.available import Available
from confiner_cli.costs.memory import RamNeed, peak_bytes, ram_need
from confiner_cli.errors import ConfinerError, is_ram_full, named_error
from confiner_cli.experts import text_loading
from confiner_cli.experts.components import Components
from confiner_cli.experts.lora import merge_loras
from confiner_cli.experts.offload import POLICIES, NetworkCache
from confiner_cli.runs import enough_memory
from confiner_cli.runs.enough_memory import check_gpu, judged, mapped_bytes, weight_files
from confiner_cli.runs.loaded_pipeline import load_pipeline
from confiner_cli.runs.provenance import settings_of_words
from confiner_cli.weights.tensors import read_tensors

CPU = torch.device("cpu")
GB = 10**9
NEED = RamNeed(weights=8 * GB, working=GB)
HALF = RamNeed(weights=4 * GB, working=GB)
ALLOCATIONS = {
    "Python": MemoryError(),
    "torch": RuntimeError(
        "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: "
        "you tried to allocate 2800000000 bytes. Error code 12 (Cannot allocate memory)"
    ),
    "torch's mmap": RuntimeError(
        "unable to mmap 2800000000 bytes from file <a.pt>: Cannot allocate memory (12)"
    ),
    "safetensors": MemoryError("Cannot allocate memory (os error 12)"),
    "the system": OSError(ENOMEM, "Cannot allocate memory"),
}


def job_of(*words: str):
    return resolve(settings_of_words(["prompt=a red heart", "seed=3", *words]))


def free(count: float, swap: float = 0, addresses: float = math.inf) -> Available:
    return Available(count, count + swap, addresses)


def test_what_fits_is_not_spoken_of():
    assert judged(NEED, 0, free(9 * GB), HALF) == ()


def test_what_cannot_fit_is_refused_with_what_would():
    with pytest.raises(ConfinerError, match=r"take 8\.00 GB, 6\.00 GB are free") as caught:
        judged(NEED, 0, free(6 * GB), HALF)
    assert caught.value.exit_code == 2 and "dtype=bf16 takes 5.00 GB" in caught.value.hint
    with pytest.raises(ConfinerError) as caught:
        judged(NEED, 0, free(2 * GB), HALF)
    assert "dtype=bf16" not in caught.value.hint


@pytest.mark.parametrize(
    ("mapped", "room"),
    [(0, free(8.5 * GB)), (5 * GB, free(4 * GB)), (0, free(4 * GB, swap=5 * GB))],
    ids=["passes may be too large", "weights stay in files", "swap"],
)
def test_what_may_not_fit_is_a_notice(mapped, room):
    (notice,) = judged(NEED, mapped, room, HALF)
    assert "about 9.00 GB are needed" in notice


def test_a_limit_of_addresses_counts_files_too():
    with pytest.raises(ConfinerError, match="not enough memory"):
        judged(NEED, 8 * GB, free(99 * GB, addresses=7 * GB), None)


def test_only_what_is_stored_as_it_is_computed_with_stays_in_the_files(tmp_path):
    path = tmp_path / "a.safetensors"
    save_file({"a": torch.zeros(10), "b": torch.zeros(10, dtype=torch.float16)}, path)
    assert mapped_bytes([path], torch.float32) == 40
    assert mapped_bytes([path], torch.float16) == 20
    (tmp_path / "a.pt").write_bytes(b"x" * 100)
    assert mapped_bytes([tmp_path / "a.pt"], torch.float32) == 100


def test_the_published_networks_need_what_they_took_at_full_size():
    """On a CPU 14 to 16 GB were held in 32 bits, mapped files included."""
    job = job_of("experts=lavie_sd", "num_frames=4", "height=256", "width=256")
    assert ram_need(job, "high", 4, on_cpu=True).total == pytest.approx(15e9, rel=0.1)
    beside = [ram_need(job, name, 2, on_cpu=False).weights for name in POLICIES]
    assert beside == sorted(beside) and beside[0] == 0
    unknown = job_of("experts=lavie_sd", "experts.temporal.architecture=null")
    assert ram_need(unknown, "high", 4, on_cpu=True) is None


def test_a_run_is_refused_before_a_network_is_loaded(monkeypatch, tmp_path):
    monkeypatch.setattr(enough_memory, "available", lambda: free(1000))
    networks = NetworkCache()
    with pytest.raises(ConfinerError, match="not enough memory"):
        load_pipeline([job_of()], networks)
    assert not networks.modules
    ending = confiner("generate", "prompt=a red heart", f"output.dir={tmp_path / 'run'}")
    assert ending.code == 2 and "error: there is not enough memory" in ending.err


def test_networks_that_are_there_are_not_asked_for_room_again(monkeypatch):
    with NetworkCache() as networks:
        load_pipeline([job_of()], networks).decoder.load()
        monkeypatch.setattr(enough_memory, "available", lambda: free(1000))
        load_pipeline([job_of()], networks)


def test_the_embedded_experts_are_in_files_of_which_all_are_counted():
    files = weight_files(job_of(), CPU, torch.float16)
    assert len(files) == 6
    size = sum(path.stat().st_size for path in files)
    assert mapped_bytes(files, torch.float16) == pytest.approx(size, rel=0.05)


def test_a_plan_says_how_much_ram_is_needed_and_free():
    out = confiner("plan", "experts=lavie_sd", "num_frames=4", "height=256", "width=256").out
    assert "RAM beside that GPU (estimated): high 0.6 GB, balanced" in out
    assert "RAM without a GPU (estimated): 1" in out and " in 32 bits, " in out


@pytest.mark.parametrize("source", ALLOCATIONS)
def test_an_allocation_that_failed_is_known_whatever_wraps_it(source):
    assert is_ram_full(ALLOCATIONS[source])
    try:
        raise ALLOCATIONS[source]
    except Exception as error:
        wrapped = OSError("Unable to load weights from checkpoint file")
        wrapped.__context__ = error
    assert is_ram_full(wrapped)
    named = named_error(wrapped, "structure")
    assert named.exit_code == 2 and "not enough memory" in str(named)
    assert "num_frames=" in named.hint and "confiner plan" in named.hint
    assert not is_ram_full(torch.OutOfMemoryError("CUDA out of memory"))
    assert not is_ram_full(OSError("Unable to load weights from checkpoint file"))


@pytest.mark.parametrize("source", ALLOCATIONS)
def test_files_are_not_blamed_for_too_little_memory(source, tmp_path, monkeypatch):
    def full(*_, **__):
        raise ALLOCATIONS[source]

    path = tmp_path / "a.safetensors"
    save_file({"a": torch.zeros(3)}, path)
    unet = tmp_path / "unet"
    unet.mkdir()
    components = Components("spatial", (tmp_path,), CPU, torch.float32)
    monkeypatch.setattr("confiner_cli.weights.tensors.load_file", full)
    monkeypatch.setattr("confiner_cli.experts.components.from_folder", full)
    monkeypatch.setattr("confiner_cli.experts.components.read_header", full)
    monkeypatch.setattr(text_loading, "read_tokenizer", full)
    (tmp_path / "tokenizer").mkdir()
    for load in (
        lambda: read_tensors(path),
        lambda: components.model("unet", torch.nn.Module),
        lambda: components.checked("unet", path),
        lambda: text_loading.remembered_tokenizer(components, NetworkCache(), tokens=()),
        lambda: merge_loras(torch.nn.Module(), "unet", ((path, 1.0),)),
    ):
        with pytest.raises(Exception) as caught:
            load()
        named = named_error(caught.value)
        assert "not enough memory" in str(named) and "confiner plan" in named.hint
        assert Path(path).exists() and "damaged" not in named.lines()


def on_gpu(monkeypatch, job, free, whole, reserved=0):
    """What is said of a GPU with so many bytes."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device=None: (free, whole))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device=None: reserved)
    check_gpu(job, torch.device("cuda"), torch.float16, 1)


def test_a_gpu_that_others_hold_is_refused_by_name_and_one_that_is_only_small_is_not(monkeypatch):
    job = job_of("experts=lavie_sd")
    need = peak_bytes(job, "low")
    with pytest.raises(ConfinerError, match=r"hold 22\.\d* GB of this GPU's 24\.\d* GB") as caught:
        on_gpu(monkeypatch, job, 2 * GB, 24 * GB)
    assert "hydra/launcher=slurm" in caught.value.hint and "memory=low" in caught.value.hint
    on_gpu(monkeypatch, job, need, 24 * GB)
    on_gpu(monkeypatch, job, GB, 24 * GB, reserved=int(need))
    on_gpu(monkeypatch, job, GB, int(need) - 1)
    on_gpu(monkeypatch, job_of("experts=lavie_sd", "memory=low"), 2 * GB, 24 * GB)
    check_gpu(job, CPU, torch.float32, 1)
