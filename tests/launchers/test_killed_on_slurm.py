"""A sweep on SLURM whose processes are killed comes to the bits of an undisturbed one."""

import random

import pytest
from support.command_line import ended, started
from support.killed_sweep import SWEEP, assert_gone_on_with, hashes

pytestmark = pytest.mark.usefixtures("slurm")
LAUNCHER = (
    "hydra/launcher=slurm", "hydra.launcher.cpus_per_task=1", "hydra.launcher.jobs_per_worker=2",
)  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    assert ended(started(*SWEEP, "output.dir=all", folder=folder)).code == 0
    return hashes(folder / "all")


@pytest.mark.slow
@pytest.mark.parametrize("number", range(30))
def test_a_sweep_killed_at_thirty_moments_goes_on_to_the_same_bits(tmp_path, undisturbed, number):
    chance = random.Random(200 + number)
    print(assert_gone_on_with(tmp_path / "all", undisturbed, LAUNCHER, chance))
