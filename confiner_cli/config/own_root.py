"""A root config of a person's own, held to what confiner needs of one."""

from __future__ import annotations

from hydra._internal.defaults_list import DefaultsList
from omegaconf import DictConfig, OmegaConf

from confiner_cli.config.places import ROOT, ConfigSource
from confiner_cli.errors import ConfinerError

INHERIT = f"begin it with the line: defaults: [{ROOT}, _self_]"
SET_BY_US = {"run.dir": ".", "sweep.dir": ".", "sweep.subdir": ".", "output_subdir": None}
"""Hydra's own settings that `generate.yaml` states: confiner makes the run folders itself."""


def check_root(source: ConfigSource, chosen: DefaultsList) -> None:
    """Refuse a root config that does not inherit ours, or whose values ours would replace.

    Raises:
        ConfinerError: it is one of these.
    """
    order = [default.config_path for default in chosen.defaults]
    if not {ROOT, "schema"} & set(order):
        raise ConfinerError(
            f"{source.root}.yaml inherits nothing: experts, scheduler and all else are missing",
            INHERIT,
        )
    if source.root != ROOT and ROOT in order and order.index(source.root) < order.index(ROOT):
        raise ConfinerError(
            f"{ROOT} comes after _self_ in {source.root}.yaml and replaces its values", INHERIT
        )


def check_hydra(node: DictConfig) -> None:
    """Refuse configs that make Hydra write files of its own.

    Args:
        node: Hydra's own settings, as they were composed.

    Raises:
        ConfinerError: they do.
    """
    for key, value in SET_BY_US.items():
        found = OmegaConf.select(node, key, throw_on_resolution_failure=False)
        if found != value:
            raise ConfinerError(
                f"hydra.{key} is set by confiner, and your config says {found}",
                f"leave it out, use output.dir= for the folder, and inherit {ROOT}",
            )
