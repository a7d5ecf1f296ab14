"""`hydra/launcher=slurm`: jobs of a sweep as jobs of SLURM, submitted by submitit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from confiner_cli.errors import ConfinerError
from confiner_cli.launchers import slurm_queue
from confiner_cli.launchers.sent import SentSweep, numbered
from confiner_cli.launchers.slurm_jobs import Launch, cancel_earlier
from confiner_cli.launchers.slurm_settings import SlurmSettings
from confiner_cli.launchers.stated import needed, stated_settings


class SlurmLauncher(Launcher):
    """Sends jobs to SLURM and waits for them; whoever ends it ends them.

    Args:
        settings: by the names of `SlurmSettings`.
    """

    def __init__(self, **settings: Any) -> None:
        self.stated: Mapping[str, Any] = settings
        self.settings = SlurmSettings()
        self.swept: SentSweep | None = None

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Raises ConfinerError where SLURM is not there or a setting is wrong."""
        self.settings = stated_settings(SlurmSettings, self.stated).checked()
        needed("submitit", "slurm")
        slurm_queue.check_installed()
        self.swept = SentSweep.of(hydra_context, config, task_function)

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """What the jobs have returned, in their order.

        Jobs of an earlier launch into the sweep's folder are cancelled first. A job that SLURM has
        lost is told and is an error for Hydra in the end.

        Raises:
            ConfinerError: SLURM does not take the jobs, or not the name of the sweep's folder.
        """
        assert self.swept is not None
        jobs = numbered(job_overrides, initial_job_idx)
        folder = self.swept.folder / ".slurm"
        if "%" in str(folder):
            raise ConfinerError(
                f"{folder} has a % in its name, which stands for something else in SLURM's paths",
                "name another folder: output.dir=",
            )
        cancel_earlier(folder)
        with Launch.in_folder(folder, self.swept) as launch:
            launch.submit(jobs, self.settings)
            found = launch.wait()
        return [found[job] for job in jobs]
