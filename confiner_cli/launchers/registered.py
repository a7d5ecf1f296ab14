"""Our launchers, made known to Hydra. Nothing of SLURM, Ray or joblib is imported by that."""

from __future__ import annotations

from types import MappingProxyType

from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher

from confiner_cli.launchers.on_joblib import JoblibLauncher
from confiner_cli.launchers.on_ray import RayLauncher
from confiner_cli.launchers.on_slurm import SlurmLauncher

LAUNCHERS: MappingProxyType[str, type[Launcher]] = MappingProxyType({
    "hydra_plugins.confiner.joblib": JoblibLauncher,
    "hydra_plugins.confiner.ray": RayLauncher,
    "hydra_plugins.confiner.slurm": SlurmLauncher,
})  # fmt: skip
"""By the names in `configs/hydra/launcher/`: Hydra takes no plugin whose name begins otherwise."""


def register_launchers() -> None:
    """Let Hydra find our launchers, in this process; once is as good as twice."""
    Plugins.instance().class_name_to_class.update(LAUNCHERS)
