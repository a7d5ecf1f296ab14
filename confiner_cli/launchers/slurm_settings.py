"""What `configs/hydra/launcher/slurm.yaml` states, and what submitit makes of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from confiner_cli.errors import ConfinerError
from confiner_cli.launchers import slurm_queue

AUTO = "auto"


@dataclass(frozen=True)
class SlurmSettings:
    """A job of SLURM's: None leaves a value to the cluster.

    Attributes:
        name: as squeue shows the jobs.
        partition, account, qos, constraint, mem: SLURM's.
        gpus_per_node: a number, None, or `auto`: one, where the partition's nodes have GPUs.
        cpus_per_task: of a job.
        timeout_min: minutes of a job of SLURM's.
        max_num_timeout: how many times a job goes on whose time was up.
        signal_delay_s: how many seconds before that it is told.
        jobs_per_worker: jobs of the sweep in one of SLURM's, 1 or more.
        array_parallelism: how many of SLURM's jobs run at once, 1 or more.
        setup: lines of the shell before a job.
        additional_parameters: of sbatch, by name.
    """

    name: str = "confiner"
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    gpus_per_node: Any = AUTO
    cpus_per_task: int = 2
    mem: str | None = None
    timeout_min: int = 60
    max_num_timeout: int = 20
    signal_delay_s: int = 60
    jobs_per_worker: int = 1
    array_parallelism: int = 256
    setup: list[str] = field(default_factory=list)
    additional_parameters: dict[str, Any] = field(default_factory=dict)

    def check(self) -> None:
        """Raises ConfinerError where a number is too small."""
        least = {"cpus_per_task": 1, "timeout_min": 1, "jobs_per_worker": 1, "array_parallelism": 1}
        for name, low in least.items():
            if getattr(self, name) < low:
                raise ConfinerError(
                    f"hydra.launcher.{name}={getattr(self, name)} is out of range",
                    f"hydra.launcher.{name}= takes {low} or more",
                )

    def gpus(self) -> int | None:
        """How many GPUs a job has; None asks for none.

        Raises:
            ConfinerError: it is no number.
        """
        asked = self.gpus_per_node
        if asked == AUTO:
            return 1 if slurm_queue.has_gpus(self.partition) else None
        if asked is None or (type(asked) is int and asked >= 0):
            return asked or None
        raise ConfinerError(
            f"hydra.launcher.gpus_per_node={asked} is unknown", "it takes auto, null or a number"
        )

    def parameters(self) -> dict[str, Any]:
        """The same by submitit's names. Raises as `gpus`."""
        stated = {
            "job_name": self.name,
            "partition": self.partition,
            "account": self.account,
            "qos": self.qos,
            "constraint": self.constraint,
            "gpus_per_node": self.gpus(),
            "cpus_per_task": self.cpus_per_task,
            "mem": self.mem,
            "time": self.timeout_min,
            "signal_delay_s": self.signal_delay_s,
            "array_parallelism": self.array_parallelism,
            "setup": self.setup or None,
        }
        return {
            **{name: value for name, value in stated.items() if value is not None},
            "stderr_to_stdout": True,
            # Since SLURM 22.05 a step does not inherit the number of its job.
            "srun_args": [f"--cpus-per-task={self.cpus_per_task}"],
            # A job that is preempted, or whose node is lost, starts again and goes on.
            "additional_parameters": {"requeue": True, **self.additional_parameters},
        }
