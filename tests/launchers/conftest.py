"""Real clusters, on this machine: they start with the first test that needs one."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.slurm_node import missing, slurm_node

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def slurm() -> Iterator[Path]:
    """SLURM with one node; the folder of its logs."""
    if missing():
        pytest.skip(f"no SLURM here ({', '.join(missing())}): Debian's slurm-wlm and munge")
    with slurm_node() as folder:
        yield folder


@pytest.fixture
def ray() -> None:
    if importlib.util.find_spec("ray") is None:
        pytest.skip('no Ray here: pip install "confiner[ray]"')


@pytest.fixture(scope="package", autouse=True)
def toys() -> Iterator[None]:
    """Workers can import toy jobs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{CHECKOUT}{os.pathsep}{CHECKOUT / 'tests'}")
        yield
