"""Hydra as a guest: started with arguments that it can read, its errors turned into ours, sweeps kept going."""

from __future__ import annotations

import json
import os
import re
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from confiner_cli.check import did_you_mean
from confiner_cli.config import config_dir, register, settings_of
from confiner_cli.errors import ConfinerError, FailedError
from confiner_cli.prompts import quoted


def parse(arguments: list[str]) -> Namespace:
    """Hydra's flags, wherever they stand among the overrides (`a=1 -m b=2`)."""
    parser = get_args_parser()
    parser.prog = "confiner generate"

    def refuse(message: str) -> Any:
        raise ConfinerError(message, "confiner generate --help")

    parser.error = refuse  # type: ignore[method-assign]
    return parser.parse_intermixed_args(arguments)


def start(flags: list[str], words: list[str], sweep: bool) -> int:
    """Let Hydra compose, and run the job or the sweep. Returns the exit code."""
    root = _sweep_root(words) if sweep else None
    places = [] if root is None else [f"hydra.sweep.dir={quoted(str(root))}"]
    register()
    sys.argv = ["confiner", *flags, *words, *places]
    failures: list[BaseException] = []
    task = sweep_job if sweep else partial(single_job, failures)
    try:
        with _raising():
            hydra.main(version_base="1.3", config_path=str(config_dir()), config_name="generate")(task)()
        for failure in failures:
            raise failure
    except (HydraException, OmegaConfBaseException) as error:
        raise translated(error) from error
    finally:
        if root is not None:
            with suppress(OSError):
                root.rmdir()  # stays where a job has left something
    return _table(root) if root is not None else 0


@contextmanager
def _raising() -> Iterator[None]:
    """Hydra raises its errors instead of printing them; the person's own setting is put back afterwards."""
    chosen = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    finally:
        if chosen is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = chosen


def single_job(failures: list[BaseException], config: DictConfig) -> None:
    """One run; prints the path of its video. An error is put into `failures`: Hydra would print it in its own way."""
    from confiner_cli.record import Place
    from confiner_cli.run import run

    try:
        print(run(settings_of(config), Place.of_single_run, _snapshots(config)), flush=True)
    except Exception as error:
        failures.append(error)


def sweep_job(config: DictConfig) -> None:
    """One job of a sweep: its failure is written down and the sweep goes on."""
    from confiner_cli.record import Place
    from confiner_cli.run import named_error, run

    job = HydraConfig.get()
    root, number = Path(job.sweep.dir), int(job.job.num)
    try:
        print(run(settings_of(config), lambda _: Place(root, number), _snapshots(config)), flush=True)
    except Exception as error:
        named = translated(error) if isinstance(error, (HydraException, OmegaConfBaseException)) else named_error(error)
        print(f"job {number}: {named.lines()}", file=sys.stderr, flush=True)
        folders = [path for path in root.glob(f"{number}-*") if (path / "run.json").is_file()]
        if not folders:
            folder = root / f"{number}-failed"
            folder.mkdir()
            facts = {"status": "failed", "prompt": str(config.prompt), "error": str(named), "hint": named.hint}
            (folder / "run.json").write_text(json.dumps(facts, indent=2), encoding="utf-8")


def _snapshots(config: DictConfig) -> dict[str, str]:
    job = HydraConfig.get()
    return {
        "config.yaml": OmegaConf.to_yaml(config),
        "hydra.yaml": OmegaConf.to_yaml(OmegaConf.create({"hydra": job})),
        "overrides.yaml": OmegaConf.to_yaml(job.overrides.task),
    }


def _sweep_root(words: list[str]) -> Path:
    chosen = next((word.partition("=")[2] for word in words if word.startswith("output.dir=")), None)
    if chosen:
        root = Path(chosen).expanduser().absolute()
        root.mkdir(parents=True, exist_ok=True)
        if any(root.iterdir()):
            raise ConfinerError(f"output.dir={root} exists and is not empty", "name a new folder")
        return root
    day = Path("multirun").absolute() / datetime.now().strftime("%Y-%m-%d")
    day.mkdir(parents=True, exist_ok=True)
    for attempt in range(1, 10_000):
        root = day / (datetime.now().strftime("%H-%M-%S") + ("" if attempt == 1 else f"-{attempt}"))
        with suppress(FileExistsError):
            root.mkdir()
            return root
    raise FailedError(f"no free name for a sweep in {day}", "set output.dir=")


def _table(root: Path) -> int:
    """Print how the jobs of a sweep ended, on stderr. Returns 1 if any failed."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table("job", "status", "prompt", "seconds", "folder", box=box.SIMPLE)
    jobs = sorted(root.glob("*/run.json"), key=lambda path: int(path.parent.name.partition("-")[0]))
    failed = 0
    for path in jobs:
        facts = json.loads(path.read_text(encoding="utf-8"))
        failed += facts["status"] != "done"
        seconds = facts.get("seconds", {}).get("total")
        shown = facts["status"] + (f": {facts['error']}" if "error" in facts else "")
        number = path.parent.name.partition("-")[0]
        table.add_row(number, shown, facts["prompt"], "" if seconds is None else f"{seconds:.1f}", path.parent.name)
    console = Console(stderr=True, markup=False, highlight=False)
    console.print(table)
    console.print(f"{len(jobs) - failed} of {len(jobs)} done in {root}")
    return 1 if failed else 0


def translated(error: Exception) -> ConfinerError:
    """A composition error of Hydra or OmegaConf as two lines."""
    if isinstance(error, MissingConfigException) and error.options:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        options = [option for option in error.options if not option.startswith("_")]
        return ConfinerError(
            f"{group}={name} is unknown", f"{did_you_mean(name, options)}{group}= takes {', '.join(options)}"
        )
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    key = re.search(r"full_key: (\S+)", str(cause))
    what = f"{key[1]}: {lines[0]}" if key else "; ".join(lines[:2])
    return ConfinerError(what, "confiner generate --cfg job prompt=x prints all settings and their values")
