"""Settings that do not do on a CPU what they do on a GPU are told, where a person has set them."""

import pytest
import torch

from confiner_cli.config.resolve import resolve
from confiner_cli.experts.device import is_slow_on_this_cpu
from confiner_cli.runs import advice
from confiner_cli.runs.provenance import settings_of_words

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def old_cpu(tmp_path, monkeypatch):
    """A CPU that computes in 32 bits only."""
    monkeypatch.setattr(advice, "is_slow_on_this_cpu", lambda dtype: dtype.itemsize < 4)


def said(*words: str, device=CPU, dtype=torch.float32) -> list[str]:
    job = resolve(settings_of_words(["prompt=a red heart", *words]))
    return list(advice.device_advice(job, device, dtype))


def test_what_does_its_work_or_was_not_chosen_is_not_spoken_of(old_cpu):
    assert said() == said("memory=high") == []
    assert said("memory=low", device=GPU, dtype=torch.bfloat16) == []


@pytest.mark.parametrize("memory", ["balanced", "low"])
def test_a_memory_setting_that_frees_nothing_is_told(memory, old_cpu):
    (line,) = said(f"memory={memory}")
    assert f"memory={memory} frees no network on a CPU" in line


def test_a_precision_that_the_cpu_imitates_is_told_with_the_one_to_take(old_cpu):
    (line,) = said(dtype=torch.bfloat16)
    assert "no bfloat16 in hardware" in line and "dtype=float32" in line


def test_more_threads_than_there_are_cpus_are_told(monkeypatch):
    monkeypatch.setattr(advice, "usable_cpus", lambda: 2)
    assert said("threads=2") == said("threads=auto") == []
    (line,) = said("threads=3")
    assert "threads=3 are more than the CPUs" in line and "(2)" in line


@pytest.mark.parametrize(
    ("line", "dtype", "slow"),
    [
        ("flags\t\t: fpu avx2 avx512f avx512_bf16", torch.bfloat16, False),
        ("flags\t\t: fpu avx2 amx_bf16 amx_tile", torch.bfloat16, False),
        ("flags\t\t: fpu avx2 avx512f", torch.bfloat16, True),
        ("flags\t\t: fpu avx2 avx512_bf16", torch.float16, True),
        ("flags\t\t: fpu avx2", torch.float32, False),
        ("Features\t: fp asimd asimdhp bf16", torch.bfloat16, False),
        ("Features\t: fp asimd asimdhp", torch.bfloat16, True),
        ("Features\t: fp asimd asimdhp", torch.float16, False),
        ("hart\t\t: 0", torch.bfloat16, False),
    ],
)
def test_a_cpu_says_what_it_has_in_hardware(line, dtype, slow, tmp_path):
    path = tmp_path / "cpuinfo"
    path.write_text(f"processor\t: 0\n{line}\nbogomips\t: 1\n")
    assert is_slow_on_this_cpu(dtype, path) == slow


def test_a_machine_that_says_nothing_is_not_called_slow(tmp_path):
    assert not is_slow_on_this_cpu(torch.bfloat16, tmp_path / "none")
