"""`hydra/launcher=slurm`: jobs of a sweep as jobs of SLURM, submitted by submitit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hydra.core.utils import JobReturn

from confiner_cli.errors import ConfinerError
from confiner_cli.launchers import slurm_queue
from confiner_cli.launchers.launcher import SweepLauncher
from confiner_cli.launchers.sent import SentJob
from confiner_cli.launchers.slurm_jobs import Launch, cancel_earlier
from confiner_cli.launchers.slurm_settings import SlurmSettings
from confiner_cli.launchers.stated import needed


class SlurmLauncher(SweepLauncher[SlurmSettings]):
    """See `SweepLauncher`."""

    settings_type = SlurmSettings

    def check(self) -> None:
        """See `SweepLauncher`."""
        self.settings.check()
        needed("submitit", "slurm")
        slurm_queue.check_installed()

    def carry_out(self, jobs: Sequence[SentJob]) -> Mapping[SentJob, JobReturn]:
        """See `SweepLauncher`. Jobs of an earlier launch of the sweep are cancelled first.

        Raises:
            ConfinerError: SLURM does not take the jobs, or not the name of the sweep's folder.
        """
        folder = self.swept.folder / ".slurm"
        if "%" in str(folder):
            raise ConfinerError(
                f"{folder} has a % in its name, which stands for something else in SLURM's paths",
                "name another folder: output.dir=",
            )
        cancel_earlier(folder)
        with Launch.in_folder(folder, self.swept) as launch:
            launch.submit(jobs, self.settings)
            return launch.wait()
