"""A sweep whose processes are killed at random moments comes to the bits of an undisturbed one."""

import random

import pytest
from support.command_line import ended, started
from support.killed_sweep import SWEEP, assert_gone_on_with, hashes


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    assert ended(started(*SWEEP, "output.dir=all", folder=folder)).code == 0
    return hashes(folder / "all")


@pytest.mark.thorough
@pytest.mark.parametrize("number", range(2))
@pytest.mark.parametrize("launcher", [(), ("hydra/launcher=joblib",)], ids=["basic", "joblib"])
def test_a_killed_sweep_goes_on_to_the_same_bits(tmp_path, undisturbed, launcher, number):
    assert_gone_on_with(tmp_path / "all", undisturbed, launcher, random.Random(number))


@pytest.mark.slow
@pytest.mark.parametrize("number", range(30))
@pytest.mark.parametrize("launcher", [(), ("hydra/launcher=joblib",)], ids=["basic", "joblib"])
def test_so_it_does_at_thirty_moments(tmp_path, undisturbed, launcher, number):
    chance = random.Random(100 + number)
    print(assert_gone_on_with(tmp_path / "all", undisturbed, launcher, chance))
