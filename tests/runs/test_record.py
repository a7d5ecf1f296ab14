"""The run folder: whole, true to the run, and never shared by two runs."""

import hashlib
import json
import re
import resource
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from threading import Barrier

import pytest
import yaml
from PIL import Image
from safetensors.torch import load_file
from support.command_line import PROMPT, QUICK, facts_of, generate

from confiner_cli.config.hydra import settings_with
from confiner_cli.errors import ConfinerError
from confiner_cli.media.video import read_video
from confiner_cli.runs import logbook
from confiner_cli.runs.folder import RunFolder
from confiner_cli.runs.lock import locked
from confiner_cli.runs.logbook import Logbook
from confiner_cli.runs.provenance import begun, differences, plain
from confiner_cli.runs.record import RunRecord


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("record") / "run"
    words = (
        PROMPT,
        "scheduler=confiner_9",
        "negative_prompt=grass",
        "seed=7",
        *QUICK,
        "scheduler.guidance_interval=[0.1,1.0]",
    )
    return generate(*words, f"output.dir={root}", "output.save_latents=true").folder


def test_run_json_says_what_decided_the_video_and_what_it_cost(folder):
    facts = facts_of(folder)
    config = facts["config"]
    assert facts["status"] == "done"
    assert (facts["prompt"], facts["negative_prompt"], facts["seed"]) == (
        PROMPT.partition("=")[2],
        "grass",
        7,
    )
    assert [config[key] for key in ("seed", "num_frames", "height", "width", "fps")] == [
        7,
        4,
        64,
        64,
        8,
    ]
    assert {"python", "confiner", "torch", "diffusers"} <= facts["versions"].keys()
    assert facts["device"]
    seconds = facts["seconds"]
    assert {"load", "structure", "refinement", "decode", "total"} <= seconds.keys()
    assert 0 < seconds["structure"] + seconds["refinement"] + seconds["decode"] <= seconds["total"]
    assert facts["peak_memory_bytes"] > 10**8


def test_a_guided_evaluation_is_two_passes_inside_the_interval_and_one_outside(folder):
    def passes(facts, visits):
        """One step of coordinated denoising from Te 100: control, spatial, temporal, spatial."""
        experts = facts["config"]["experts"]
        return {
            role: visits[role] * (1 if experts[role]["guidance_scale"] == 1 else 2)
            for role in visits
        }

    inside = facts_of(folder)
    assert inside["evaluations"] == {"control": 1, "spatial": 2, "temporal": 1}
    assert inside["passes"] == passes(inside, inside["evaluations"])
    assert inside["passes"]["spatial"] == 4
    outside = facts_of(
        generate(
            PROMPT,
            "scheduler=confiner_9",
            *QUICK,
            "scheduler.guidance_interval=[0.9,1.0]",
            f"output.dir={folder}-2",
        ).folder
    )
    assert outside["passes"] == {
        "control": inside["passes"]["control"],
        "spatial": 2,
        "temporal": 1,
    }


def test_files_are_the_finished_artefacts_with_their_hashes(folder):
    files = facts_of(folder)["files"]
    assert set(files) == {"video.mp4", "structure.mp4", "contact_sheet.png", "latents.safetensors"}
    assert files == {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in files
    }
    expected = {*files, "run.json", "events.jsonl", "run.log", ".hydra"}
    assert {path.name for path in folder.iterdir()} == expected
    assert {path.name for path in (folder / ".hydra").iterdir()} == {
        "config.yaml",
        "hydra.yaml",
        "overrides.yaml",
    }


def test_events_tell_the_run_in_order_and_the_structure_is_written_beside_the_refinement(folder):
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    assert [event["time"] for event in events] == sorted(event["time"] for event in events)
    told = [(event["event"], event.get("stage") or event.get("file")) for event in events]
    written = told.index(("wrote", "structure.mp4"))
    assert told.index(("visit", "structure")) < written < told.index(("wrote", "video.mp4"))
    assert [*told[:written], *told[written + 1 :]] == [
        ("started", None), ("stage", "structure"), ("visit", "structure"), ("structure", None),
        ("stage", "refinement"), *[("visit", "refinement")] * 3,
        ("wrote", "video.mp4"), ("done", None),
    ]  # fmt: skip
    roles = [event["role"] for event in events if event["event"] == "visit"]
    assert roles == ["control", "spatial", "temporal", "spatial"]


def test_hydra_has_its_snapshots(folder):
    config = yaml.safe_load((folder / ".hydra" / "config.yaml").read_text())
    assert (config["seed"], config["scheduler"]["name"]) == (7, "confiner_9")
    assert "seed=7" in yaml.safe_load((folder / ".hydra" / "overrides.yaml").read_text())
    assert (
        yaml.safe_load((folder / ".hydra" / "hydra.yaml").read_text())["hydra"]["job"][
            "config_name"
        ]
        == "generate"
    )


def test_the_log_has_the_summary(folder):
    assert re.search(
        r"^\S+ done: load .*peak memory \d+ MiB$", (folder / "run.log").read_text(), re.M
    )


def test_artefacts_have_the_shapes_of_the_run(folder):
    for name in ("video.mp4", "structure.mp4"):
        assert read_video(folder / name).shape == (4, 64, 64, 3)
    latents = load_file(folder / "latents.safetensors")
    kept = {
        name: (tensor.dim(), tensor.shape[2], str(tensor.dtype)) for name, tensor in latents.items()
    }
    assert kept == dict.fromkeys(("base_noise", "structure", "refined"), (5, 4, "torch.float32"))
    with Image.open(folder / "contact_sheet.png") as sheet:
        assert sheet.width > 4 * 128 and sheet.height > 2 * 128


def test_on_a_full_disk_run_json_is_rewritten_in_its_place_or_left_as_it_is(tmp_path, monkeypatch):
    settings = replace(settings_with([]), prompt="a heart", seed=7)
    kept = Logbook.begin(tmp_path, begun(settings, "cpu"), {})

    def full(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(logbook, "atomic_write", full)
    kept.update(status="failed")
    assert facts_of(tmp_path)["status"] == "failed"
    before = (tmp_path / "run.json").read_text()
    with no_file_above(len(before) + 1000), pytest.raises(OSError, match="No space"):
        kept.update(status="x" * 100_000)
    assert (tmp_path / "run.json").read_text() == before


@contextmanager
def no_file_above(size):
    """In this process no file grows beyond so many bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def together(count, call):
    """Call from `count` threads at the same instant; errors are answers."""
    barrier = Barrier(count)

    def one(number):
        barrier.wait()
        try:
            return call()
        except ConfinerError as error:
            return error

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(one, range(count)))


@pytest.mark.parametrize("prefix", ["", "3"])
def test_folders_made_at_the_same_instant_are_different(tmp_path, prefix):
    folders = together(16, lambda: RunFolder(tmp_path / "new", prefix).create("a-heart-s7"))
    assert len(set(folders)) == 16 and all(folder.is_dir() for folder in folders)


def test_of_runs_that_want_the_same_folder_at_once_one_gets_it(tmp_path):
    settings = replace(settings_with([]), prompt="a heart", seed=7)

    def claim():
        with locked(RunFolder(tmp_path / "run", exact=True).create()):
            return Logbook.begin(tmp_path / "run", begun(settings, "cpu"), {"config.yaml": "a: 1"})

    answers = together(8, claim)
    errors = [answer for answer in answers if isinstance(answer, ConfinerError)]
    assert len(errors) == 7 and all("output.dir=" in str(error) for error in errors)
    assert facts_of(tmp_path / "run")["status"] == "running"


@pytest.mark.parametrize(
    ("before", "after", "keys"),
    [
        ({}, {}, []),
        ({8: "a blue star"}, {8: "a blue star"}, []),
        ({8: "a blue star"}, {8: "a blue star", 12: "a red heart"}, ["prompts"]),
        ({8: "a blue star", 12: "a red heart"}, {8: "a blue star"}, ["prompts"]),
        ({}, {8: "a blue star"}, ["prompts"]),
    ],
)
def test_another_schedule_of_prompts_is_another_run(before, after, keys):
    settings = replace(settings_with([]), prompt="a heart", seed=7)
    assert (
        differences(plain(replace(settings, prompts=before)), replace(settings, prompts=after))
        == keys
    )


def test_what_a_run_keeps_is_part_of_it_and_where_it_goes_is_not():
    settings = replace(settings_with([]), prompt="a heart", seed=7)
    other = replace(
        settings,
        resume=True,
        output=replace(settings.output, dir="x", metadata=False, save_latents=True),
    )
    assert differences(plain(settings), other) == ["output.save_latents"]
    assert differences(plain(settings), replace(settings, seed=8, num_frames=8)) == [
        "num_frames",
        "seed",
    ]


def test_a_line_of_a_log_is_there_whole_or_not_at_all(tmp_path):
    log = Logbook(tmp_path, RunRecord())
    log.log("there is room")
    before = (tmp_path / "run.log").read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 5, hard))
    try:
        log.log("for five letters")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / "run.log").read_bytes() == before
    log.log("there is again")
    assert len((tmp_path / "run.log").read_text().splitlines()) == 2
