"""Jobs that take no time, for launchers: they write down that they began, and may wait or die.

What a job does is its prompt: `ok`, `wait` until the file `go` is there, `die` (by SIGKILL), `die
once`, `raise`. Nothing heavy is imported: workers import this.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from hydra._internal.callbacks import Callbacks
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig

from confiner_cli.config.hydra import _register
from confiner_cli.config.hydra_loader import initialized
from confiner_cli.config.places import OURS
from confiner_cli.errors import Terminated

GO = "go"
TIMEOUT = 120.0


@dataclass(frozen=True)
class Begun:
    """What a job wrote down: its number, and of its process."""

    number: int
    process: int
    folder: str
    had_torch: bool
    cpus: str | None
    wait_policy: str | None


def toy_job(config: DictConfig) -> float:
    """Twice its number, as a job of a sweep returns one."""
    hydra = HydraConfig.get()
    folder, number = Path(hydra.sweep.dir), int(hydra.job.num)
    begins = len(begun(folder, number))
    facts = Begun(
        number,
        os.getpid(),
        str(Path.cwd()),
        "torch" in sys.modules,
        os.environ.get("SLURM_CPUS_PER_TASK"),
        os.environ.get("OMP_WAIT_POLICY"),
    )
    try:
        with (folder / "begun.jsonl").open("a") as file:
            file.write(f"{json.dumps(asdict(facts))}\n")
        _do(config.prompt, folder, begins)
    except Terminated:
        (folder / f"{number}.terminated").touch()
        raise
    return 2.0 * number


def _do(what: str, folder: Path, begins: int) -> None:
    if what == "raise":
        raise ZeroDivisionError("seven by nought")
    if what == "die" or (what == "die once" and not begins):
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "wait":
        wait_until(lambda: (folder / GO).exists())


def wait_until(condition: Callable[[], object], seconds: float = TIMEOUT) -> None:
    """Raises TimeoutError where a condition does not come true."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.05)


def begun(folder: Path, number: int | None = None) -> list[Begun]:
    """What jobs, or one, have written down, in the order in which they began."""
    path = folder / "begun.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    found = [Begun(**json.loads(line)) for line in lines]
    return [each for each in found if number in (None, each.number)]


@contextmanager
def beside(work: Callable[[], None]) -> Iterator[None]:
    """Do something while the body waits for its jobs."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    yield
    thread.join()


def launched(
    launcher: Launcher, prompts: Sequence[str], folder: Path, first: int = 0
) -> Sequence[JobReturn]:
    """What Hydra is given by a launcher for toy jobs with these prompts."""
    folder.mkdir(exist_ok=True)
    with initialized(OURS) as loader:
        words = [f"hydra.sweep.dir={folder}", *_register(None)]
        config = loader.load_configuration("generate", words, RunMode.MULTIRUN)
        launcher.setup(
            hydra_context=HydraContext(config_loader=loader, callbacks=Callbacks()),
            task_function=toy_job,
            config=config,
        )
        return launcher.launch([[f"prompt={prompt}"] for prompt in prompts], first)
