"""Hydra as a guest: started with arguments that it can read, its errors turned into ours, sweeps kept going."""

from __future__ import annotations

import json
import os
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from confiner_cli.config.hydra import config_dir, readable_errors, register, settings_of
from confiner_cli.config.prompts import quoted
from confiner_cli.config.resolve import resolved
from confiner_cli.config.roles import required_models
from confiner_cli.config.schema import Settings
from confiner_cli.errors import ConfinerError, named_error
from confiner_cli.experts.offload import NetworkCache
from confiner_cli.runs.lock import in_use
from confiner_cli.runs.record import Place, finished, going_on


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
    if sweep:
        for word, why in (
            ("resume=true", "resume one job: confiner resume JOB_DIR"),
            ("num_frames=inf", "leave out -m"),
        ):
            if word in words:
                raise ConfinerError(f"{word} does not go with a sweep", why)
        return _sweep(flags, words)
    failures: list[Exception] = []
    with NetworkCache() as cache:
        _hydra([*flags, *words], partial(single_job, failures, cache))
    for failure in failures:
        raise failure
    return 0


def _sweep(flags: list[str], words: list[str]) -> int:
    """Run all jobs; however the sweep ends, there is a table of those that began."""
    with _sweep_root(words) as root, NetworkCache() as cache:  # its jobs load nothing twice
        try:
            chosen = [*flags, *words, f"hydra.sweep.dir={quoted(str(root))}"]
            _hydra(chosen, partial(sweep_job, cache))
        finally:
            failed = _table(root)
    return 1 if failed else 0


def _hydra(arguments: list[str], task: Callable[[DictConfig], None]) -> None:
    register()
    sys.argv = ["confiner", *arguments]
    with readable_errors(), raising():
        hydra.main(version_base="1.3", config_path=str(config_dir()), config_name="generate")(
            task
        )()


@contextmanager
def raising() -> Iterator[None]:
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


def single_job(failures: list[Exception], cache: NetworkCache, config: DictConfig) -> None:
    """One run; prints the path of its video. An error is put into `failures`: Hydra would print it in its own way."""
    try:
        video = _video(config, lambda settings: Place.of("outputs", settings.output.dir), cache)
        print(video, flush=True)
    except Exception as error:
        failures.append(error)


def sweep_job(cache: NetworkCache, config: DictConfig) -> None:
    """One job of a sweep: its failure is written down and the sweep goes on."""
    job = HydraConfig.get()
    root, number = Path(job.sweep.dir), str(job.job.num)
    try:
        print(_video(config, lambda _: Place(root, number), cache), flush=True)
    except Exception as error:
        named = named_error(error)
        print(f"job {number}: {named.lines()}", file=sys.stderr, flush=True)
        if not any(root.glob(f"{number}-*/run.json")):
            facts = {
                "status": "failed",
                "prompt": str(config.prompt),
                "error": str(named),
                "hint": named.hint,
            }
            folder = Place(root, number).make("failed")
            (folder / "run.json").write_text(json.dumps(facts, indent=2), encoding="utf-8")


def _video(config: DictConfig, place: Callable[[Settings], Place], cache: NetworkCache) -> Path:
    settings = resolved(going_on(settings_of(config)))
    # Slow to import: wrong values are told before.
    from confiner_cli.experts.device import device_of
    from confiner_cli.runs.execute import run
    from confiner_cli.weights.download import fetch

    chosen = place(settings)
    if settings.resume and chosen.exact and finished(chosen.root, settings):
        return run(settings, chosen, {}, cache)  # says so
    device_of(settings.device)
    fetch(required_models(settings))
    return run(settings, chosen, _snapshots(config), cache)


def _snapshots(config: DictConfig) -> dict[str, str]:
    job = HydraConfig.get()
    return {
        "config.yaml": OmegaConf.to_yaml(config),
        "hydra.yaml": OmegaConf.to_yaml(OmegaConf.create({"hydra": job})),
        "overrides.yaml": OmegaConf.to_yaml(job.overrides.task),
    }


@contextmanager
def _sweep_root(words: list[str]) -> Iterator[Path]:
    """The sweep's folder: `output.dir`, or a new one with the time for a name. It goes if no job has begun in it."""
    place = Place.of("multirun", _chosen_root(words))
    new = [folder for folder in (place.root, *place.root.parents) if not folder.exists()]
    root = place.make()
    claim = root / ".sweep"
    try:
        claim.touch(exist_ok=False)
    except FileExistsError as error:
        raise in_use(root) from error
    try:
        yield root
    finally:
        claim.unlink(missing_ok=True)
        if not any(root.glob("*/run.json")):
            (root / "multirun.yaml").unlink(missing_ok=True)  # Hydra's
            with suppress(OSError):
                for folder in new if place.exact else [root, *new]:
                    folder.rmdir()


def _chosen_root(words: list[str]) -> str | None:
    word = next((word for word in words if word.startswith("output.dir=")), "output.dir=null")
    with readable_errors():
        override = OverridesParser.create().parse_override(word)
    if override.is_sweep_override():
        raise ConfinerError(
            f"{word} names several folders",
            "one folder for the sweep: every job has its own inside",
        )
    value = override.value()
    return None if value is None else str(value)


def _table(root: Path) -> int:
    """Print how the jobs of a sweep ended, on stderr. Returns how many did not end well."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table("job", "status", "prompt", "seconds", "folder", box=box.SIMPLE)
    jobs = sorted(root.glob("*/run.json"), key=lambda path: int(path.parent.name.partition("-")[0]))
    if not jobs:
        return 0
    failed = 0
    for path in jobs:
        facts = json.loads(path.read_text(encoding="utf-8"))
        failed += facts["status"] != "done"
        seconds = facts.get("seconds", {}).get("total")
        shown = facts["status"] + (f": {facts['error']}" if "error" in facts else "")
        number = path.parent.name.partition("-")[0]
        table.add_row(
            number,
            shown,
            " ".join(facts["prompt"].split()),
            "" if seconds is None else f"{seconds:.1f}",
            path.parent.name,
        )
    console = Console(
        stderr=True, markup=False, highlight=False, width=None if sys.stderr.isatty() else 160
    )
    console.print(table)
    console.print(f"{len(jobs) - failed} of {len(jobs)} done in {root}", soft_wrap=True)
    return failed
