"""What is typed reaches the settings: any prompt, unchanged by Hydra's parser, sweeper and YAML."""

import json
import random
import sys
import unicodedata
from dataclasses import asdict, replace

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from support.nasty_prompts import NASTY

from confiner_cli.config.hydra import compose, settings_of, settings_with, values_of
from confiner_cli.config.overrides import parse_overrides
from confiner_cli.config.prompts import verbatim
from confiner_cli.config.schema import OutputSettings
from confiner_cli.errors import ConfinerError
from confiner_cli.experts.spec import EmbeddingSpec, LoraSpec
from confiner_cli.runs.provenance import recorded_settings, settings_of_words


def for_hydra(words, multirun):
    return parse_overrides(words, multirun).for_hydra()


def any_character(draw: random.Random) -> str:
    """One of all planes of unicode; no control characters, and no halves of others."""
    while unicodedata.category(drawn := chr(draw.randint(32, sys.maxunicode))) in ("Cc", "Cs"):
        pass
    return drawn


def random_texts(count: int, seed: int) -> list[str]:
    """Text of all planes of unicode, dense in what Hydra, OmegaConf and YAML read as syntax."""
    draw = random.Random(seed)
    pieces = [*NASTY, *",'\"()=[]{}\\$:~ #&", "${", "\\${", "\n", "a heart"]
    texts = []
    while len(texts) < count:
        parts = draw.choices(pieces, k=draw.randint(0, 6))
        parts += [any_character(draw) for _ in range(draw.randint(0, 6))]
        draw.shuffle(parts)
        text = "".join(parts).strip()
        texts += [text] if text else []
    return texts


TEXTS = NASTY + random_texts(100, seed=0)


@pytest.fixture(scope="module")
def composed():
    return compose(["prompt=x"])


def read(words, config):
    """Put overrides into a config as Hydra's composition does once the groups are chosen."""
    ConfigLoaderImpl._apply_overrides_to_config(
        OverridesParser.create().parse_overrides(words), config
    )
    return config


def test_any_text_reaches_the_settings_unchanged(composed):
    for first, second in zip(TEXTS[0::2], TEXTS[1::2], strict=True):
        config = read(
            for_hydra([f"prompt={first}", f"negative_prompt={second}"], multirun=False), composed
        )
        settings = settings_of(config)
        assert (verbatim(settings.prompt), verbatim(settings.negative_prompt)) == (first, second)


def test_any_texts_of_one_sweep_become_its_jobs_unchanged():
    bare = OmegaConf.create({"prompt": "", "seed": 0})
    for start in range(0, len(TEXTS), 50):
        texts = TEXTS[start : start + 50]
        words = for_hydra([f"prompt={text}" for text in texts] + ["seed=1,2"], multirun=True)
        (jobs,) = BasicSweeper.split_arguments(
            OverridesParser.create().parse_overrides(words), None
        )
        configs = (read(job, bare) for job in jobs)
        assert [(verbatim(config.prompt), config.seed) for config in configs] == [
            (text, seed) for text in texts for seed in (1, 2)
        ]


def test_nasty_texts_pass_a_whole_composition_and_yaml():
    some = NASTY[::6]  # a composition takes as long as a hundred of the readings above
    for first, second in zip(some, reversed(some), strict=True):
        config = compose(
            for_hydra([f"prompt={first}", f"negative_prompt={second}"], multirun=False)
        )
        again = settings_of(OmegaConf.create(OmegaConf.to_yaml(config)))
        assert [verbatim(text) for text in (again.prompt, again.negative_prompt)] == [first, second]


def test_overrides_keep_their_order_and_prompts_the_place_of_the_first():
    words = for_hydra(
        ["seed=1,2", "prompt=a", "num_frames=4,8", "prompt=b", "fps=9"], multirun=True
    )
    assert [word.partition("=")[0] for word in words] == ["seed", "prompt", "num_frames", "fps"]


def test_a_key_is_given_once_also_with_marks_and_in_sweeps():
    for words, multirun in (
        (["seed=1", "++seed=2"], False),
        (["seed=1", "seed=2"], True),
        (["from=a", "from=b"], True),
    ):
        with pytest.raises(ConfinerError, match="given 2 times"):
            for_hydra(words, multirun)


@pytest.fixture
def record(tmp_path):
    words = (
        "prompt=${a}, (b)", "seed=7", "num_frames=4", "output.dir=x",
        "experts.spatial.guidance_scale=1e-05", "scheduler=confiner_18",
        "scheduler.refinement.te=50", "scheduler.refinement.pattern=[naive,standard]",
    )  # fmt: skip
    settings = settings_of_words(words)
    (tmp_path / "run.json").write_text(json.dumps({"config": asdict(settings)}))
    return tmp_path, settings


def test_a_record_gives_the_same_settings_but_for_the_folder(record):
    folder, settings = record
    again = settings_of_words([f"from={folder}"])
    assert settings.prompt == "${a}, (b)"
    assert again == replace(settings, output=OutputSettings())


def test_what_is_chosen_anew_replaces_the_record(record):
    folder, settings = record
    again = settings_of_words([f"from={folder}", "scheduler=confiner_9", "seed=8"])
    assert (again.seed, again.prompt, again.experts) == (8, settings.prompt, settings.experts)
    assert again.scheduler == settings_with(["scheduler=confiner_9"]).scheduler
    deeper = settings_of_words([f"from={folder}", "scheduler.refinement.te=60"])
    assert (deeper.scheduler.name, deeper.scheduler.refinement.te) == ("confiner_18", 60)
    sized = settings_of_words([f"from={folder}", "experts=tiny"])
    assert (sized.num_frames, sized.experts) == (None, settings_with([]).experts)


def test_what_an_older_record_does_not_say_of_the_scheduler_is_not_what_is_chosen_today(tmp_path):
    settings = settings_with(["scheduler=confiner_9", "prompt=a heart"])
    config = asdict(settings)
    del config["scheduler"]["refinement"]["frame_noise"], config["scheduler"]["guidance_interval"]
    (tmp_path / "run.json").write_text(json.dumps({"config": config}))
    assert settings_of_words([f"from={tmp_path}"]).scheduler == settings.scheduler


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ([], "steady"),
        (["experts=tiny", "experts/spatial=epicrealism"], "steady"),
        (["experts=lavie_sd"], "confiner_9"),
        (["long_video=confiner_long"], "steady"),
        (["experts=modelscope_sd", "long_video=confiner_long"], "confiner_9"),
        (["long_video=confiner_long", "scheduler=confiner_9"], "confiner_9"),
        (["scheduler=confiner_18"], "confiner_18"),
        (["experts=zeroscope_sd", "scheduler=steady"], "steady"),
    ],
    ids=str,
)
def test_experts_choose_the_scheduler_also_of_a_long_video_unless_the_user_does(words, name):
    assert settings_with(words).scheduler.name == name


def write_record(folder, settings, **changes):
    """Record these settings, with `changes` made to the spatial expert (None: left out)."""
    config = asdict(settings)
    for key, value in changes.items():
        if value is None:
            del config["experts"]["spatial"][key]
        else:
            config["experts"]["spatial"][key] = value
    folder.mkdir()
    (folder / "run.json").write_text(
        json.dumps({"prompt": "x", "config": config}), encoding="utf-8"
    )


def again(folder, *words):
    return settings_of_words([f"from={folder}", *words])


def test_a_record_with_adapters_is_read_back_as_it_was(tmp_path):
    loras = [
        LoraSpec("a b/it's {x}.safetensors", 0.25),
        LoraSpec("owner/name:file.safetensors", 1.0),
    ]
    embeddings = [EmbeddingSpec("~/a b/it's {x}.pt", "<x>"), EmbeddingSpec("o/n:f.bin", "${y}")]
    made = settings_with(["prompt=x"])
    spatial = replace(made.experts.spatial, loras=loras, embeddings=embeddings, clip_skip=1)
    made = replace(made, prompt_weighting=True, experts=replace(made.experts, spatial=spatial))
    write_record(tmp_path / "run", made)
    found = again(tmp_path / "run")
    assert found.experts.spatial == spatial and found.prompt_weighting


@pytest.mark.parametrize(
    ("typed", "path", "token"),
    [
        ("{path:~/a b/x.pt,token:<cat>}", "~/a b/x.pt", "<cat>"),
        ("{token: <cat> , path: x.pt }", "x.pt", "<cat>"),
        ('{path:"x.pt",token:"<cat>"}', "x.pt", "<cat>"),
        ("{path:'a, path:~b',token:bad-dream}", "a, path:~b", "bad-dream"),
        ("{path:owner/name@main:x.bin,token:cat}", "owner/name@main:x.bin", "cat"),
    ],
)
def test_paths_and_tokens_of_adapters_need_no_quotes(typed, path, token):
    key = "experts.spatial.embeddings"
    for multirun in (False, True):
        (word,) = for_hydra([f"{key}=[{typed}]"], multirun)
        (value,) = values_of(word)
        assert value == [{"path": path, "token": token}]


def test_the_path_of_a_lora_may_begin_at_home():
    (word,) = for_hydra(["experts.spatial.loras=[{path:~/x.safetensors,scale:0.5}]"], False)
    assert values_of(word) == [[{"path": "~/x.safetensors", "scale": 0.5}]]


def test_what_an_older_record_does_not_say_of_an_expert_is_not_taken_from_todays_default(tmp_path):
    made = settings_with(["prompt=x", "experts=lavie_sd"])
    write_record(tmp_path / "run", made, architecture=None, pickles=None)
    found = again(tmp_path / "run").experts.spatial
    assert (
        found.model == made.experts.spatial.model
        and found.architecture is None
        and not found.pickles
    )


def test_a_role_chosen_anew_replaces_that_roles_record_and_no_other(tmp_path):
    made = settings_with(["prompt=x", "experts=lavie_sd"])
    write_record(tmp_path / "run", made)
    found = again(tmp_path / "run", "experts/spatial=epicrealism").experts
    assert (
        found.spatial.model.startswith("emilianJR/epiCRealism")
        and found.temporal == made.experts.temporal
    )
    assert (found.height, found.width) == (320, 512)


def test_to_go_on_with_a_run_its_own_settings_are_read_whatever_the_configs_say_now(record):
    folder, settings = record
    again = recorded_settings(folder)
    here = replace(settings.output, dir=str(folder))
    assert again == replace(settings, resume=True, output=here)


@pytest.mark.parametrize("text", NASTY[::11])
def test_any_text_comes_back_out_of_a_record(tmp_path, text):
    prompts = dict(enumerate(NASTY, start=8))  # all of them at once: to compose takes a second
    made = replace(settings_with([]), prompt=text, prompts=prompts, negative_prompt=text, seed=1)
    (tmp_path / "run.json").write_text(json.dumps({"config": asdict(made)}))
    for again in (settings_of_words([f"from={tmp_path}"]), recorded_settings(tmp_path)):
        assert {verbatim(each) for each in (again.prompt, again.negative_prompt)} == {
            verbatim(text)
        }
        for frame, nasty in prompts.items():
            assert verbatim(again.prompts[frame]) == verbatim(nasty)


LORAS = "experts.spatial.loras=[{path:a.safetensors},{path:b.safetensors,scale:2}]"


def test_a_value_inside_an_entry_of_a_list_is_set_by_its_number():
    words = [LORAS, "experts.spatial.loras.0.scale=0.5", "experts.spatial.loras[1].path=~/c d"]
    words += ["scheduler.guidance_interval.0=0.25"]
    made = settings_of_words(words)
    assert made.experts.spatial.loras == [
        LoraSpec("a.safetensors", 0.5),
        LoraSpec("~/c d", 2.0),
    ]
    assert made.scheduler.guidance_interval == [0.25, 1.0]


def test_a_value_inside_an_entry_is_swept():
    words = for_hydra([LORAS, "experts.spatial.loras.0.scale=0.2,0.5", "prompt=x"], multirun=True)
    (jobs,) = BasicSweeper.split_arguments(OverridesParser.create().parse_overrides(words), None)
    assert [settings_with(job).experts.spatial.loras[0].scale for job in jobs] == [0.2, 0.5]


def test_a_value_inside_an_entry_of_a_record_is_set(tmp_path):
    made = settings_of_words([LORAS, "prompt=x"])
    write_record(tmp_path / "run", made)
    found = again(tmp_path / "run", "experts.spatial.loras.1.scale=3").experts.spatial.loras
    assert found == [LoraSpec("a.safetensors"), LoraSpec("b.safetensors", 3.0)]


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["experts.spatial.loras.0.scale=1"], "there is no experts.spatial.loras.0", "whole list"),
        ([LORAS, "experts.spatial.loras.0.scal=1"], "loras.0.scal'", "mean experts.spatial."),
        ([LORAS, "experts.spatial.loras.0.scale=x"], "loras.0.scale: Value 'x'", "loras.0={path"),
        (["experts.spatial.loras=[{pth:a}]"], "'experts.spatial.loras.0.pth'", "mean path?"),
        (["experts.spatial.loras=[a]"], "experts.spatial.loras.0=a is no entry", "path:"),
        (["experts.spatial.loras=[{scale:1}]"], "loras.0.path is not stated", ""),
        (["experts.spatial.loras.0.scale=1", LORAS], "would replace", "spatial.loras= first"),
        (["scheduler.refinement.pattern.0=naive"], "pattern is no list", "pattern=["),
    ],
)  # fmt: skip
def test_entries_that_are_not_there_or_wrong_are_told_with_their_place(words, message, hint):
    with pytest.raises(ConfinerError) as refused:
        settings_of_words(words)
    assert message in str(refused.value) and hint in refused.value.hint


HOME = [
    ("experts.spatial.loras=[{path:~/a b.safetensors,scale:0.8}]", ["~/a b.safetensors"]),
    ("experts.spatial.loras=[{path:~/ü (1).pt}, {scale: 2, path: o/n:f.pt }]",
     ["~/ü (1).pt", "o/n:f.pt"]),
    ("experts.spatial.loras=[{path:'~/a,b.pt'}]", ["~/a,b.pt"]),
]  # fmt: skip


@pytest.mark.parametrize(("word", "paths"), HOME)
def test_paths_in_a_list_need_no_quotes_whatever_signs_they_have(word, paths):
    loras = settings_of_words([word]).experts.spatial.loras
    assert [lora.path for lora in loras] == paths


@pytest.mark.parametrize(
    "key",
    [
        "experts.spatial.model", "experts.control.shared", "experts.control.motion_adapter",
        "experts.knows", "structure.video", "output.dir", "experts.spatial.loras.0.path",
    ],
)  # fmt: skip
def test_every_path_may_begin_with_a_tilde_also_in_a_sweep(key):
    (word,) = for_hydra([f"{key}=~/a (b)"], multirun=False)
    assert values_of(word) == ["~/a (b)"]
    (word,) = for_hydra([f"{key}=~/a (b), ~ann/ü"], multirun=True)
    assert values_of(word) == ["~/a (b)", "~ann/ü"]
    (word,) = for_hydra([f"{key}=choice(a,'~/b')"], multirun=True)
    assert values_of(word) == ["a", "~/b"]


def test_the_home_is_found_in_a_mapping_too():
    made = settings_of_words(["structure={video:~/in.mp4}", "output={dir:~/out}"])
    assert (made.structure.video, made.output.dir) == ("~/in.mp4", "~/out")


def test_files_of_the_command_line_are_found_in_the_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "p.txt").write_text("a star")
    assert for_hydra(["prompt_file=~/p.txt"], multirun=False) == ['prompt="a star"']
    assert for_hydra(["prompts_file=~/p.txt"], multirun=True) == ['prompt="a star"']
    assert parse_overrides(["from=~/run"], multirun=False).record == tmp_path / "run"


def test_negative_prompts_are_swept_as_prompts_are():
    (word,) = for_hydra(["negative_prompt=a, b", "negative_prompt=(c)"], multirun=True)
    assert values_of(word) == ["a, b", "(c)"]
    with pytest.raises(ConfinerError, match="given 2 times"):
        for_hydra(["negative_prompt=a", "negative_prompt=b"], multirun=False)
