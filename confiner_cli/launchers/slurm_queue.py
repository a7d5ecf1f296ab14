"""SLURM's own programs: what its jobs are doing, and how they are cancelled.

`squeue` knows the jobs that wait, run, or ended a moment ago. `sacct`, which submitit asks, needs
an accounting that many small clusters do not keep.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from confiner_cli.errors import ConfinerError

ENDED = frozenset({
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY",
    "PREEMPTED", "REVOKED", "TIMEOUT",
})  # fmt: skip
"""States of jobs that SLURM does no more about; one that it starts again is PENDING."""
ANSWER = 60
"""Seconds after which SLURM is taken to be away."""
BETWEEN_LOOKS = 0.2
USERS_OWN = ("SLURM_CONF", "SBATCH_")
"""How the names begin of what a person sets for `sbatch`; all else of SLURM's is a job's."""


@dataclass(frozen=True)
class State:
    """What SLURM says of a job: `PENDING`, and why."""

    name: str
    reason: str

    @property
    def is_ended(self) -> bool:
        """Whether nothing more comes of the job."""
        return self.name in ENDED

    def __str__(self) -> str:
        known = self.reason not in ("", "None")
        return f"{self.name} ({self.reason})" if known else self.name


def states(numbers: Iterable[str]) -> dict[str, State] | None:
    """What SLURM says of jobs, by number: `12`, or `12_3` in an array.

    Args:
        numbers: of jobs, or of whole arrays.

    Returns:
        None where it does not answer. Jobs that it has forgotten are left out.
    """
    said = _said("squeue", "--me", "--noheader", "--array", "--states=all", "--format=%i|%T|%r")
    if said is None:
        return None
    mine = set(numbers)
    found = {}
    for line in said.splitlines():
        number, _, rest = line.strip().partition("|")
        if number.partition("_")[0] in mine:
            name, _, reason = rest.partition("|")
            found[number] = State(name, reason)
    return found


def cancel(numbers: Sequence[str], seconds: float) -> bool:
    """Cancel jobs and wait until they are gone, but no longer than so many seconds.

    Returns whether they are.
    """
    if not numbers:
        return True
    _said("scancel", "--quiet", *numbers)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        left = states(numbers)
        if left is not None and all(state.is_ended for state in left.values()):
            return True
        time.sleep(BETWEEN_LOOKS)
    return False


def longest_array() -> int:
    """How many jobs an array may have."""
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", _said("scontrol", "show", "config") or "", re.M)
    return max(1, int(found[1])) if found else 1


def has_gpus(partition: str | None) -> bool:
    """Whether nodes of a partition, or of the cluster's own, have GPUs."""
    of = ["--partition", partition] if partition else []
    said = _said("sinfo", "--noheader", "--format=%P %G", *of) or ""
    lines = [line.split(maxsplit=1) for line in said.splitlines() if " " in line]
    default = {name for name, _ in lines if name.endswith("*")}
    return any(
        re.match(r"(.*,)?gpu\b", offered)
        for name, offered in lines
        if partition or not default or name in default
    )


@contextmanager
def outside_of_a_job() -> Iterator[None]:
    """In the body the environment has nothing of the job that this process may be in itself.

    What it says of that one, such as its memory, would be taken for a wish.
    """
    inherited = {
        name: os.environ.pop(name)
        for name in list(os.environ)
        if name.startswith(("SLURM", "SRUN_")) and not name.startswith(USERS_OWN)
    }
    try:
        yield
    finally:
        os.environ.update(inherited)


def check_installed() -> None:
    """Raises ConfinerError where SLURM's programs are not on this machine."""
    import shutil

    if shutil.which("sbatch") is None or shutil.which("squeue") is None:
        raise ConfinerError(
            "hydra/launcher=slurm needs sbatch, which is not on this machine",
            "start the sweep on a login node of the cluster, or use hydra/launcher=ray or joblib",
        )


def _said(*command: str) -> str | None:
    """What a program of SLURM's prints, or None where it fails."""
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=ANSWER,
            start_new_session=True,  # a Ctrl-C at the terminal is not for it
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
