"""All jobs of a sweep are checked before the first begins, and one of each kind is composed."""

import itertools

import pytest
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from confiner_cli.config import composer
from confiner_cli.config.composer import Composer
from confiner_cli.config.hydra import settings_with
from confiner_cli.config.jobs import check, jobs_of
from confiner_cli.config.overrides import parse_overrides
from confiner_cli.errors import ConfinerError


@pytest.fixture
def composed(monkeypatch):
    """The words of each config that is composed."""
    words, compose = [], composer.compose

    def watched(overrides, *others):
        words.append(overrides)
        return compose(overrides, *others)

    monkeypatch.setattr(composer, "compose", watched)
    return words


def words_of(*words):
    return parse_overrides(words, multirun=True).for_hydra()


def checked(*words):
    jobs = jobs_of(words_of(*words))
    check(jobs)
    return len(jobs)


def test_jobs_are_those_of_hydra_s_sweeper_in_its_order():
    words = words_of(
        "prompt=a, b", "seed=range(3)", "experts=tiny,lavie_sd", "prompt=${c}", "fps=8"
    )
    overrides = OverridesParser.create().parse_overrides(words)
    (batch,) = BasicSweeper.split_arguments(overrides, None)
    jobs = jobs_of(words)
    assert [list(job) for job in jobs] == batch and len(jobs) == len(batch) == 12


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
        (("experts=tiny,wan", "experts.spatial.guidance_scale=1,2"), "no expert in its role"),
    ],
)
def test_a_wrong_value_is_refused_in_whichever_job_it_is(words, said):
    with pytest.raises(ConfinerError) as refused:
        checked("prompt=a red heart", *words)
    assert said in refused.value.lines()


def test_values_that_are_lists_are_composed_each():
    loras = "experts.spatial.loras=[{path: a, scale: 1.0}],[{path: a, scale: 1.0}, {path: b}]"
    assert checked("prompt=a red heart", loras, "seed=1,2") == 4


@pytest.mark.parametrize("word", ["seed=interval(0,1)"])
def test_what_another_sweeper_alone_can_say_is_left_to_it(word):
    assert jobs_of(words_of("prompt=a red heart", word)) is None


KEYS = {
    "prompt": ["a red heart, rising", "${oc.env:HOME} (b)", "1e3", "true"],
    "seed": ["null", "7", "2049"],
    "experts": ["tiny", "lavie_sd"],
    "scheduler": ["confiner_9", "steady"],
    "output": ["{format: gif}", "{metadata: false}"],
    "output.metadata": ["no", "true"],
    "scheduler.refinement.te": ["50", "1e2"],
    "experts.spatial.guidance_scale": ["1", "7.5"],
    "experts.spatial.loras": ["[]", "[{path: a, scale: 0.5}]"],
    "num_frames": ["null", "8", "16"],
}


@pytest.mark.parametrize("shift", range(2))
def test_settings_are_those_that_hydra_composes_whatever_was_composed_before(shift, composed):
    """Walk through jobs that change several keys at once, over and back again."""
    own = Composer()
    jobs = []
    for number in range(4):
        chosen = {key: values[(number + shift) % len(values)] for key, values in KEYS.items()}
        dropped = list(itertools.islice(itertools.cycle(KEYS), number + shift, number + shift + 2))
        words = [f"{key}={value}" for key, value in chosen.items() if key not in dropped]
        jobs.append(words_of(*words))
    for words in [*jobs, *reversed(jobs)]:
        made = own.compose(words)
        assert made.settings == settings_with(words), words
        assert own.yaml_of(made) == OmegaConf.to_yaml(made.config)
