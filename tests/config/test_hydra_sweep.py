"""Words of a sweep come through launchers and sweepers as they are."""

from __future__ import annotations

import pytest
from hydra.core.utils import run_job

from confiner_cli.config.composer import Composer
from confiner_cli.config.hydra_sweep import HandedOver, swept
from confiner_cli.config.overrides import parse_overrides
from confiner_cli.config.places import OURS

PROMPTS = ("${oc.env:HOME}", r"\${a}", '"${x}", (b)', "a, 'b' = {c}", "true", "1e3")


class Kept:
    """A task that keeps the words of its jobs."""

    def __init__(self):
        self.jobs = []

    def __call__(self, job):
        self.jobs.append(job)
        return 1.0

    def lost(self, job, error):
        raise AssertionError(error)


def words_of(*words):
    return parse_overrides(words, multirun=True).for_hydra()


@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_launcher_hands_on_a_prompt_verbatim(tmp_path, prompt):
    words = words_of(f"prompt={prompt}", "seed=1")
    kept = Kept()
    with swept(words, None, OURS) as found:
        found._set_root(tmp_path)
        config = found.context.config_loader.load_sweep_config(found.config, list(words))
        config.hydra.job.num = 7
        returned = run_job(
            hydra_context=found.context,
            task_function=HandedOver(kept),
            config=config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
    assert returned.return_value == 1.0
    (job,) = kept.jobs
    assert job.number == 7 and list(job.words) == words
    assert Composer().compose(job.words).settings.prompt == prompt


def test_a_sweeper_hands_on_a_prompt_verbatim(tmp_path):
    words = words_of(f"prompt={PROMPTS[0]}", "seed=range(1,9)", "objective=flicker")
    how = ["hydra/sweeper=optuna", "hydra.sweeper.n_trials=1", "hydra.sweeper.n_jobs=1"]
    kept = Kept()
    with swept([*how, *words], None, OURS) as found:
        found.sweep(tmp_path, kept)
    assert {Composer().compose(job.words).settings.prompt for job in kept.jobs} == {PROMPTS[0]}
