"""Sweeps through Hydra's sweepers and launchers, whichever a config chooses.

Hydra composes each job a quarter of a second long, once to check it and again in the launcher, and
its basic sweeper keeps what every job returned. Here launchers hand on the words of a job, which
composes them itself (`composer`), and the basic sweeper's jobs go to the launcher by the batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from hydra._internal.callbacks import Callbacks
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus, setup_globals
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from confiner_cli.config.hydra import ONE_AT_A_TIME, sweep_root_config
from confiner_cli.config.hydra_errors import readable_errors
from confiner_cli.config.hydra_loader import initialized
from confiner_cli.config.places import ConfigSource
from confiner_cli.errors import ConfinerError

BASIC_SWEEPER = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"
BASIC_LAUNCHER = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"
AT_ONCE = 10_000
"""Jobs that a launcher is handed at once: of each, those of others than ours keep Hydra's node."""


class WordsLoader(ConfigLoaderImpl):
    """Hydra's loader, but that the config of a job is Hydra's own node alone, with its words."""

    def load_sweep_config(
        self, master_config: DictConfig, sweep_overrides: list[str]
    ) -> DictConfig:
        """What a launcher makes a job of."""
        config = OmegaConf.masked_copy(master_config, "hydra")
        with read_write(config.hydra), open_dict(config):
            config.hydra.overrides.task = list(sweep_overrides)
        return config


@dataclass(frozen=True)
class SweptJob:
    """A job of a sweep as a launcher hands it over.

    Attributes:
        number: of the job in what the launcher was given at once.
        words: overrides, as Hydra reads them.
        hydra_yaml: Hydra's own settings.
    """

    number: int
    words: tuple[str, ...]
    hydra_yaml: str

    def snapshots(self, config_yaml: str) -> dict[str, str]:
        """The files of `.hydra/` by name, `config_yaml` being what the words come to."""
        return {
            "config.yaml": config_yaml,
            "hydra.yaml": self.hydra_yaml,
            "overrides.yaml": OmegaConf.to_yaml(list(self.words)),
        }


class Task(Protocol):
    """Carries jobs out. It pickles where a launcher sends it elsewhere."""

    def __call__(self, job: SweptJob, /) -> Any:
        """Carry a job out; what it returns is the sweeper's."""

    def lost(self, job: SweptJob, error: ConfinerError) -> None:
        """Tell that a job has come to nothing in a launcher's hands."""


@dataclass(frozen=True)
class HandedOver:
    """A task as launchers call their functions: Hydra's settings are known by then."""

    task: Task

    def __call__(self, _: DictConfig) -> Any:
        """Carry out the job that runs."""
        config = HydraConfig.get()
        words = _words_of(config)
        hydra_yaml = _yaml_of(OmegaConf.create({"hydra": config}))
        return self.task(SweptJob(int(config.job.num), words, hydra_yaml))

    def lost(self, number: int, words: Sequence[str], error: ConfinerError) -> None:
        """Tell that a job has come to nothing, as `Task.lost`."""
        self.task.lost(SweptJob(number, tuple(words), ""), error)


@dataclass(frozen=True)
class Swept:
    """A sweep as Hydra has composed it.

    Attributes:
        config: the root config, with Hydra's own node.
        context: what sweepers and launchers are made with.
    """

    config: DictConfig
    context: HydraContext

    @property
    def is_basic(self) -> bool:
        """Whether all combinations of values are made, whatever comes of them."""
        return str(self.config.hydra.sweeper._target_) == BASIC_SWEEPER

    @property
    def objective(self) -> str | None:
        """Which number of a finished job its sweeper wants."""
        name = self.config.objective
        return None if name is None else str(name)

    @property
    def is_here(self) -> bool:
        """Whether jobs are made one after another in this process."""
        return str(self.config.hydra.launcher._target_) == BASIC_LAUNCHER

    def launch(self, jobs: Iterable[Sequence[str]], root: Path, task: Task) -> None:
        """Hand jobs to the launcher.

        Args:
            jobs: the words of each.
            root: the sweep's folder.
            task: carries each out.

        Raises:
            Exception: what a launcher says of a job that it has lost, once all others have ended.
        """
        self._set_root(root)
        if self.is_here:
            hydra_yaml = _yaml_of(self.config)
            for number, words in enumerate(jobs):
                task(SweptJob(number, tuple(words), hydra_yaml))
            return
        launcher = Plugins.instance().instantiate_launcher(
            self.context, HandedOver(task), self.config
        )
        first, rest = 0, iter(jobs)
        lost: list[JobReturn] = []
        while batch := [list(words) for words in islice(rest, AT_ONCE)]:
            returned = launcher.launch(batch, initial_job_idx=first)
            lost += [each for each in returned if each.status == JobStatus.FAILED]
            first += len(batch)
        for each in lost:  # a job writes its failures down: this is its process's
            _ = each.return_value

    def sweep(self, root: Path, task: Task) -> None:
        """Let another sweeper choose jobs by what those before have returned. Args as `launch`."""
        self._set_root(root)
        self._seed_sampler()
        sweeper = Plugins.instance().instantiate_sweeper(
            hydra_context=self.context,
            task_function=HandedOver(task),
            config=self.config,
        )
        sweeper.sweep(arguments=list(_words_of(self.config.hydra)))

    def _seed_sampler(self) -> None:
        """Let a sampler without a seed choose the same when the sweep goes on."""
        sampler = self.config.hydra.sweeper.get("sampler")
        if sampler is not None and "seed" in sampler and sampler.seed is None:
            sampler.seed = 0

    def _set_root(self, root: Path) -> None:
        with open_dict(self.config):
            self.config.hydra.sweep.dir = str(root).replace("${", r"\${")


def _words_of(hydra: Any) -> tuple[str, ...]:
    """The words as they are: a prompt in them is never interpolated."""
    words: Any = OmegaConf.to_container(hydra.overrides.task, resolve=False)
    return tuple(map(str, words))


def _yaml_of(config: DictConfig) -> str:
    return OmegaConf.to_yaml(OmegaConf.masked_copy(config, "hydra"))


@contextmanager
def swept(
    words: Sequence[str], recorded: Mapping[str, Any] | None, source: ConfigSource
) -> Iterator[Swept]:
    """Compose a sweep. In the body Hydra is ready to launch it.

    Args:
        words: overrides, as Hydra reads them; also those that choose a sweeper or a launcher.
        recorded: as `hydra.compose` has it.
        source: as `hydra.compose` has it.

    Raises:
        ConfinerError: words or a config that cannot be used.
    """
    with ONE_AT_A_TIME:
        setup_globals()
        with readable_errors(), initialized(source) as loader:
            config = sweep_root_config(words, recorded, source, loader)
            own = WordsLoader(loader.get_search_path())
        callbacks = Callbacks(config)
        context = HydraContext(config_loader=own, callbacks=callbacks)
        callbacks.on_multirun_start(config=config, config_name=source.root)
        yield Swept(config, context)
        callbacks.on_multirun_end(config=config, config_name=source.root)
