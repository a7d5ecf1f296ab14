"""What a process holds does not grow with the jobs that it has made."""

import itertools
from pathlib import Path
from statistics import median

import pytest
from support.command_line import SMALLEST, ended, started

from confiner_cli.config.jobs import jobs_of
from confiner_cli.config.overrides import parse_overrides

COUNT = 500
FIRST = 100
"""Jobs after which all is loaded and every cache is full."""


def held_by(process: int) -> tuple[int, int]:
    """Bytes of memory without pages of files, and open files."""
    status = Path(f"/proc/{process}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) * 1024, len(list(Path(f"/proc/{process}/fd").iterdir()))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system has no /proc")
def test_memory_and_open_files_stay_as_they_are_in_five_hundred_jobs(tmp_path):
    prompts = (f"a red heart, the {number}th" for number in range(COUNT))
    (tmp_path / "prompts.txt").write_text("\n".join(prompts))
    words = ("generate", "-m", "prompts_file=prompts.txt", "seed=1", *SMALLEST, "threads=1")
    held = []
    with (tmp_path / "told.txt").open("w") as told:  # a pipe would be full before anybody reads it
        process = started(*words, folder=tmp_path, stderr=told)
        for line in itertools.islice(process.stdout, COUNT):
            assert line.endswith("video.mp4\n")
            held.append(held_by(process.pid))
        ending = ended(process)
    assert ending.code == 0 and len(held) == COUNT, (tmp_path / "told.txt").read_text()[-2000:]
    early, late = (held[FIRST : FIRST + 50], held[-51:-1])
    memory = [median(bytes for bytes, _ in part) for part in (early, late)]
    files = [min(count for _, count in part) for part in (early, late)]
    print(f"memory {memory[0] / 2**20:.1f} -> {memory[1] / 2**20:.1f} MiB, files {files}")
    assert memory[1] <= 1.03 * memory[0] and files[0] == files[1]


def test_ten_thousand_jobs_are_known_without_a_list_of_them():
    words = [f"prompt=a red heart, the {number}th" for number in range(100)]
    jobs = jobs_of(parse_overrides([*words, "seed=range(100)"], multirun=True).for_hydra())
    assert len(jobs) == 10_000 and sum(map(len, jobs.axes)) == 200
    assert jobs[9_999] == ('prompt="a red heart, the 99th"', "seed=99")
