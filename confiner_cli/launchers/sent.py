"""A sweep's jobs as they are sent to other processes, and what comes back of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from confiner_cli import progress
from confiner_cli.config.hydra_sweep import HandedOver
from confiner_cli.config.job_number import number_and_words
from confiner_cli.errors import ConfinerError, named_error
from confiner_cli.experts.lean_imports import OWN_PROCESS


@dataclass(frozen=True)
class SentJob:
    """A job: its number as the launcher counts, and its words, as Hydra reads them."""

    number: int
    overrides: tuple[str, ...]

    @property
    def name(self) -> str:
        """What a person knows it by: its number in the sweep."""
        return str(number_and_words(self.overrides, self.number)[0])


@dataclass(frozen=True)
class SentSweep:
    """What all jobs of a sweep share. It pickles.

    Attributes:
        context: Hydra's loader of configs and callbacks.
        config: the sweep's, with Hydra's own node.
        task: carries a job out; what fails in it, it writes down itself.
        singletons: Hydra's state in the parent: its store of configs.
    """

    context: HydraContext
    config: DictConfig
    task: TaskFunction
    singletons: Mapping[Any, Any]

    @classmethod
    def of(cls, context: HydraContext, config: DictConfig, task: TaskFunction) -> SentSweep:
        """The sweep that Hydra has set a launcher up with."""
        return cls(context, config, task, Singleton.get_state())

    @property
    def folder(self) -> Path:
        """The sweep's, absolute."""
        return Path(str(self.config.hydra.sweep.dir)).absolute()

    def run(self, job: SentJob) -> JobReturn:
        """Carry a job out, in a worker: a process of confiner's own.

        What is returned holds no configs: the parent of many jobs would keep them all.
        """
        OWN_PROCESS.set(True)
        Singleton.set_state(dict(self.singletons))
        setup_globals()
        config = self.context.config_loader.load_sweep_config(self.config, list(job.overrides))
        with open_dict(config.hydra.job):
            config.hydra.job.id = f"{config.hydra.job.name}_{job.number}"
            config.hydra.job.num = job.number
        returned = run_job(
            task_function=self.task,
            config=config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
            hydra_context=self.context,
        )
        return _slim(returned)

    def lost(self, job: SentJob, error: ConfinerError) -> JobReturn:
        """Tell that a job has come to nothing through no fault of its own; the others go on.

        A task that cannot be told makes it an error for Hydra, when all jobs have ended.
        """
        if isinstance(self.task, HandedOver):
            self.task.lost(job.number, job.overrides, error)
            return JobReturn(overrides=job.overrides, status=JobStatus.COMPLETED)
        progress.say(f"job {job.number}: {error.lines()}")
        return JobReturn(overrides=job.overrides, status=JobStatus.FAILED, _return_value=error)


def _slim(returned: JobReturn) -> JobReturn:
    value = returned._return_value
    if isinstance(value, Exception):
        value = named_error(value)  # an exception of others' may not pickle
    return JobReturn(overrides=returned.overrides, status=returned.status, _return_value=value)
