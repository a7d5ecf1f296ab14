"""What our launchers have in common: their settings, and the sweep whose jobs they are given."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from confiner_cli.launchers.sent import SentJob, SentSweep
from confiner_cli.launchers.stated import stated_settings

Settings = TypeVar("Settings")


class SweepLauncher(Launcher, Generic[Settings]):
    """Sends jobs elsewhere and waits for them; whoever ends it ends them.

    Args:
        settings: what the config states, by the names of `settings_type`.

    Attributes:
        settings_type: a dataclass; the types of its fields are those of the settings.
        settings: known after `setup`, and so is `swept`: the sweep.
    """

    settings_type: type[Settings]
    settings: Settings
    swept: SentSweep

    def __init__(self, **settings: Any) -> None:
        self.stated: Mapping[str, Any] = settings

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Raises ConfinerError: a setting of the wrong type; or as `check`."""
        self.settings = stated_settings(self.settings_type, self.stated)
        self.check()
        self.swept = SentSweep.of(hydra_context, config, task_function)

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """What the jobs have returned, in their order.

        A job that was lost is told, and is an error for Hydra in the end.

        Raises:
            ConfinerError: as `carry_out`.
        """
        numbered = enumerate(job_overrides, initial_job_idx)
        jobs = [SentJob(number, tuple(words)) for number, words in numbered]
        found = self.carry_out(jobs)
        return [found[job] for job in jobs]

    @abstractmethod
    def check(self) -> None:
        """Raises ConfinerError: a setting out of its range, or what is needed is not installed."""

    @abstractmethod
    def carry_out(self, jobs: Sequence[SentJob]) -> Mapping[SentJob, JobReturn]:
        """What jobs have returned, all of them; those that were lost are told.

        Raises:
            ConfinerError: nothing can be launched there.
        """
