"""All jobs of a sweep are checked before the first begins, and one of each kind is composed."""

import pytest

from confiner_cli.config import jobs
from confiner_cli.config.jobs import count_checked
from confiner_cli.config.overrides import parse_overrides
from confiner_cli.errors import ConfinerError


@pytest.fixture
def composed(monkeypatch):
    """The words of each config that is composed."""
    words, compose = [], jobs.compose

    def watched(overrides, recorded):
        words.append(overrides)
        return compose(overrides, recorded)

    monkeypatch.setattr(jobs, "compose", watched)
    return words


def checked(*words):
    return count_checked(parse_overrides(words, multirun=True).for_hydra(), None)


def test_jobs_that_differ_in_values_alone_are_composed_once(composed):
    prompts = [f"prompt=a red heart, {number}" for number in range(20)]
    assert checked(*prompts, "seed=range(0,20)", "num_frames=4,8") == 800
    assert len(composed) == 1


def test_each_choice_of_configs_is_composed(composed):
    words = ("experts=tiny,lavie_sd", "scheduler=steady,confiner_9,confiner_18", "seed=1,2,3")
    assert checked("prompt=a red heart", *words) == 18
    assert len(composed) == 6


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("seed=" + ",".join(map(str, range(300))) + ",x",), "seed"),
        (("scheduler=steady,confiner_8",), "did you mean confiner_18?"),
        (("seed=1,2", "experts=tiny,tinny"), "did you mean tiny?"),
        (("output.metadata=true,perhaps",), "output.metadata"),
        (("+experts.spatial.licence=a,b",), "experts.spatial.licence"),
    ],
)
def test_a_wrong_value_is_refused_in_whichever_job_it_is(words, said):
    with pytest.raises(ConfinerError) as refused:
        checked("prompt=a red heart", *words)
    assert said in refused.value.lines()


def test_a_value_that_only_some_jobs_can_have_is_asked_of_hydra(composed):
    loras = "experts.spatial.loras=[{path: a, scale: 1.0}],[{path: a, scale: 1.0}, {path: b}]"
    assert checked("prompt=a red heart", loras, "seed=1,2") == 4
    assert len(composed) == 1


@pytest.mark.parametrize(
    "word", ["hydra/launcher=basic", "hydra.sweeper.params={}", "seed=interval(0,1)"]
)
def test_what_hydra_alone_can_say_is_left_to_it(composed, word):
    assert checked("prompt=a red heart", word) is None
    assert not composed
