"""Configs of one's own come to settings as confiner's do; what is wrong in them is told, where."""

import json

import pytest
from hydra.core.global_hydra import GlobalHydra
from support.own_configs import OWN

from confiner_cli.config.hydra import settings_with
from confiner_cli.config.overrides import parse_overrides
from confiner_cli.config.places import config_source
from confiner_cli.config.sweep_config import sweep_config
from confiner_cli.errors import ConfinerError
from confiner_cli.runs.provenance import plain, recorded_under, settings_of_words

SOURCE = config_source(OWN)


def test_experts_and_a_scheduler_of_ones_own_are_chosen_by_name():
    made = settings_of_words(["experts=mytiny", "scheduler=fast"], SOURCE)
    assert (made.experts.name, made.scheduler.name) == ("mytiny", "fast")
    assert made.scheduler.structure.num_inference_steps == 2
    assert settings_of_words(["experts=mytiny"], SOURCE).scheduler.name == "steady"


def test_an_experiment_sets_its_keys_and_overrides_groups_under_the_words():
    made = settings_of_words(["+experiment=heart", "seed=9"], SOURCE)
    assert (made.prompt, made.num_frames, made.seed) == ("a red heart pulsing over the sea", 2, 9)
    assert (made.experts.name, made.scheduler.name) == ("tiny", "confiner_9")
    fast = settings_of_words(["+experiment=heart", "scheduler=fast"], SOURCE)
    assert fast.scheduler.name == "fast"


def test_a_root_config_of_ones_own_stands_under_the_words():
    made = settings_of_words(["seed=5"], config_source(OWN, "mine"))
    assert (made.prompt, made.num_frames, made.seed) == ("a red heart pulsing over the sea", 2, 5)


def test_hydra_is_as_it_was_after_a_composition():
    settings_of_words([], SOURCE)
    assert not GlobalHydra.instance().is_initialized()
    with pytest.raises(ConfinerError, match="experts=mytiny is unknown"):
        settings_of_words(["experts=mytiny"])


@pytest.fixture
def record(tmp_path):
    words = ["prompt=a star", "seed=9", "num_frames=3", "experts=mytiny", "scheduler=fast"]
    made = settings_of_words(words, SOURCE)
    (tmp_path / "run.json").write_text(json.dumps({"config": plain(made)}))
    return tmp_path, made


def test_a_record_needs_no_folder_of_configs(record):
    folder, made = record
    assert settings_of_words([f"from={folder}"]) == made


def test_an_experiment_comes_over_a_record_with_the_groups_that_it_chooses(record):
    folder, made = record
    again = settings_of_words([f"from={folder}", "+experiment=heart"], SOURCE)
    assert (again.prompt, again.seed, again.num_frames) == (
        "a red heart pulsing over the sea", 3, 2,
    )  # fmt: skip
    assert again.scheduler == settings_with(["scheduler=confiner_9"]).scheduler
    assert again.experts == made.experts


def test_a_root_config_stands_under_a_record(record):
    folder, made = record
    assert settings_of_words([f"from={folder}"], config_source(OWN, "mine")) == made


def test_a_record_does_not_go_with_a_sweep_over_experiments(record):
    folder, _ = record
    words = parse_overrides([f"from={folder}", "+experiment=heart,star"], True, SOURCE)
    with pytest.raises(ConfinerError, match=r"sweep over experiment="):
        recorded_under(words)


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["+experimnt=heart"], "no setting 'experimnt'", "did you mean experiment?"),
        (["+experiment=hart"], "experiment=hart is unknown", "did you mean heart?"),
        (["experiment=heart"], "in no defaults list", "+experiment=heart"),
        (["experts=mytny"], "experts=mytny is unknown", "did you mean mytiny?"),
        pytest.param(
            ["+experts=mytiny"], "experts has a choice already", "experts=mytiny without +",
            marks=pytest.mark.thorough,
        ),
        (["+experiment=heart", "+experiment=heart"], "given 2 times", "once"),
    ],
    ids=str,
)  # fmt: skip
def test_typos_in_ones_own_names_are_told_with_ones_own_names(words, message, hint):
    with pytest.raises(ConfinerError) as refused:
        settings_of_words(words, SOURCE)
    assert message in str(refused.value) and hint in refused.value.hint


def test_a_group_without_a_folder_is_told_how_it_is_found():
    with pytest.raises(ConfinerError, match="experiment") as refused:
        settings_of_words(["+experiment=heart"])
    assert "--config-dir FOLDER" in refused.value.hint


HEADER = "# @package _global_\n"
WRONG = [
    ("experiment/x.yaml", f"{HEADER}promt: a", "'promt' (in experiment/x.yaml)", "mean prompt?"),
    ("experiment/x.yaml", f"{HEADER}experts: {{spatial: {{mdel: a}}}}",
     "'experts.spatial.mdel' (in experiment/x.yaml)", "did you mean experts.spatial.model?"),
    ("experiment/x.yaml", f"{HEADER}seed: b", "seed: Value 'b'", ""),
    ("experiment/x.yaml", "prompt: a", "'experiment' (in experiment/x.yaml)", HEADER.strip()),
    ("experiment/x.yaml", f"{HEADER}defaults: [{{override /schedulr: fast}}]",
     "experiment/x.yaml", "did you mean scheduler?"),
    ("experiment/x.yaml", f"# mine\n{HEADER}defaults: [{{override /scheduler: fast}}]",
     "(in experiment/x.yaml)", HEADER.strip()),
    ("experiment/x.yaml", f"{HEADER}hydra: {{run: {{dir: elsewhere}}}}",
     "hydra.run.dir is set by confiner", "output.dir="),
    ("experts/x.yaml", "a: [1\nb: 2", "experts/x.yaml, line 2: ", "mend the YAML"),
    ("experts/x.yaml", "name: x\nname: y", "experts/x.yaml, line 2: found duplicate key", ""),
    ("experts/x.yaml", "name: \a", "experts/x.yaml", "plain text"),
    ("experts/x.yaml", b"name: \xfc", "experts/x.yaml cannot be read: no UTF-8", "UTF-8"),
    ("experts/x.yaml", "- a", "(in experts/x.yaml)", ""),
    ("experts/x.yaml", "", "experts.name is not stated", "docs/experts.md"),
    ("experts/x.yaml", "defaults: [{controll: tiny}]",
     "no group 'experts/controll' (in experts/x.yaml)", "did you mean experts/control?"),
    ("x.yaml", "prompt: hello", "x.yaml inherits nothing", "defaults: [generate, _self_]"),
    ("x.yaml", "defaults: [_self_, generate]\nprompt: a",
     "replaces its values", "[generate, _self_]"),
    ("x.yaml", "defaults: [x, _self_]", "leads back to itself", "defaults:"),
    ("x.yaml", "defaults: [schema, {scheduler: confiner_9}, {experts: tiny}, {long_video: none}]",
     "hydra.run.dir is set by confiner", "inherit generate"),
]  # fmt: skip
ALWAYS = (0, 7, 10, 14)


@pytest.mark.parametrize(
    ("file", "content", "message", "hint"),
    [
        pytest.param(*case, marks=[] if number in ALWAYS else pytest.mark.thorough)
        for number, case in enumerate(WRONG)
    ],
)
def test_what_is_wrong_in_a_config_of_ones_own_is_told_with_its_place(
    tmp_path, file, content, message, hint
):
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    group, _, name = file.removesuffix(".yaml").rpartition("/")
    words = [f"{'+' if group == 'experiment' else ''}{group}={name}"] if group else []
    with pytest.raises(ConfinerError) as refused:
        settings_of_words(words, config_source(tmp_path, None if group else name))
    assert message in str(refused.value) and hint in refused.value.hint


def test_a_root_may_say_that_it_is_a_sweep_and_of_what():
    assert not sweep_config(["experts=mytiny"], SOURCE).is_sweep
    swept = sweep_config(["num_frames=3"], config_source(OWN, "sw"))
    assert swept.is_sweep
    assert swept.words(["num_frames=3"]) == [
        "seed=1,2",
        "prompt=a red heart, rising over the sea",
        "prompt=a green square falling",
        "num_frames=3",
        "hydra.sweeper.params=null",
    ]
    assert swept.words(["seed=5", "prompts_file=x"])[:2] == ["seed=5", "prompts_file=x"]


@pytest.mark.parametrize(
    ("value", "texts"),
    [
        ("a red heart (big)", ["a red heart (big)"]),
        ("it's", ["it's"]),
        ("a heart,a star", ["a heart", "a star"]),
        (r""""it's \"big\", (x)",'b, "c"',d""", ['it\'s "big", (x)', 'b, "c"', "d"]),
    ],
)
def test_texts_of_a_sweep_in_a_config_are_verbatim(tmp_path, value, texts):
    params = {"prompt": value, "negative_prompt": value}
    root = {"defaults": ["generate", "_self_"], "hydra": {"sweeper": {"params": params}}}
    (tmp_path / "many.yaml").write_text(json.dumps(root))
    words = sweep_config([], config_source(tmp_path, "many")).words([])
    for key in params:
        assert [word for word in words if word.startswith(f"{key}=")] == [
            f"{key}={text}" for text in texts
        ]


def test_texts_that_cannot_be_parted_are_refused_by_their_key(tmp_path):
    root = "defaults: [generate, _self_]\nhydra: {sweeper: {params: {prompt: 'a (b), c'}}}"
    (tmp_path / "many.yaml").write_text(root)
    swept = sweep_config([], config_source(tmp_path, "many"))
    with pytest.raises(ConfinerError, match=r"hydra\.sweeper\.params\.prompt") as refused:
        swept.words([])
    assert "double quotes" in refused.value.hint
