"""Long videos from the command line: prompts that change, a given video, no end, bounded disk."""

import json
import signal
import time

import pytest
import torch
from safetensors.torch import load_file
from support.command_line import PROMPT, ended, facts_of, generate
from support.forked import forked

from confiner_cli.media.source_video import probe
from confiner_cli.media.video import read_comment, read_video, write_video
from confiner_cli.runs import executor

LONG = (
    "long_video=confiner_long", "long_video.segment_frames=4", "long_video.window_overlap=2",
    "seed=3",
    "scheduler.structure.num_inference_steps=1", "scheduler.refinement.num_inference_steps=1",
)  # fmt: skip
SMALL = ("height=16", "width=16")
LATER = "a blue star, rising: over the 'sand' = ${x} {1}"

# Also in one step its temporal expert sees what the spatial one made of both prompts.
MIXING = "scheduler=confiner_9"


@pytest.fixture(scope="module")
def changing(tmp_path_factory):
    """Two prompts, the second in the middle of a segment."""
    folder = tmp_path_factory.mktemp("changing") / "run"
    words = (
        PROMPT,
        MIXING,
        f"at=6:{LATER}",
        "num_frames=11",
        "output.save_latents=true",
        f"output.dir={folder}",
    )
    return generate(*words, *LONG)


def test_a_prompt_holds_from_its_frame_on_verbatim_and_is_recorded(changing):
    facts = facts_of(changing.folder)
    assert facts["prompts"] == {"6": LATER} == facts["config"]["prompts"]
    assert json.loads(read_comment(changing.folder / "video.mp4"))["prompts"] == {"6": LATER}
    assert "the prompt at 6 decides the structure from frame 8 on" in changing.err


@pytest.mark.thorough
def test_structures_have_the_prompt_of_their_start_and_windows_those_of_their_frames(
    changing, tmp_path
):
    plain = generate(
        PROMPT,
        MIXING,
        "num_frames=11",
        "output.save_latents=true",
        f"output.dir={tmp_path / 'run'}",
        *LONG,
    )
    one, other = (load_file(ending.folder / "latents.safetensors") for ending in (changing, plain))
    same = (one["structure"] == other["structure"]).flatten(3).all(dim=3)[0].all(dim=0).tolist()
    assert same == [True] * 8 + [False] * 3
    same = (one["refined"] == other["refined"]).flatten(3).all(dim=3)[0].all(dim=0).tolist()
    assert (
        same == [True] + [False] * 10
    )  # the second window has frame 6 in it, and the temporal expert sees all


@pytest.mark.thorough
def test_a_video_with_several_prompts_is_its_own_recipe(changing, tmp_path):
    again = generate(f"from={changing.folder / 'video.mp4'}", f"output.dir={tmp_path / 'again'}")
    files = [facts_of(ending.folder)["files"]["video.mp4"] for ending in (changing, again)]
    assert files[0] == files[1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((PROMPT, "at=six:x"), "cannot read 'at=six:x'"),
        ((PROMPT, "at=6"), "cannot read 'at=6'"),
        ((PROMPT, "at=2:x", "at=2:y"), "at=2: is given twice"),
        ((PROMPT, "at=2:"), "at=2: is empty"),
        ((PROMPT, "at=2:x", "prompts={3: y}"), "prompts= and at= are given together"),
        ((PROMPT, "at=16:x"), "the prompt at 16 begins after the video's end, frame 16"),
        ((PROMPT, "prompts={0: another}"), "two prompts for frame 0"),
        ((PROMPT, "prompts={-1: x}"), "prompts has a frame -1"),
        ((PROMPT, "num_frames=17"), "num_frames=17 is more than tiny takes at once: 16"),
        ((PROMPT, "num_frames=64", *LONG[:1], "long_video.segment_frames=17"),
         "more than tiny takes at once"),
        ((PROMPT, "num_frames=64", *LONG[:1],
          "long_video.segment_frames=6", "long_video.window_overlap=4"),
         "more than half a segment"),
        ((PROMPT, "num_frames=64", *LONG[:1], "long_video.window_overlap=9"),
         "window_overlap=9 is out of range"),
        ((PROMPT, "long_video.coherence=0.6"), "long_video.coherence=0.6 is out of range"),
        ((PROMPT, "long_video.align=index"), "long_video.align=index is unknown"),
        ((PROMPT, "num_frames=1.5"), "num_frames=1.5 is not a whole number"),
        ((PROMPT, "structure.video=nowhere.mp4"), "nowhere.mp4"),
        ((PROMPT, "resume=true"), "resume=true does not know which run"),
        (("-m", PROMPT, "resume=true"), "does not know which sweep"),
        (("-m", PROMPT, "num_frames=inf"), "num_frames=inf does not go with a sweep"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_two_lines(words, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ending = generate(*words)
    assert (ending.code, ending.out) == (2, "")
    error, hint = ending.err.splitlines()
    assert said in error and hint.startswith("hint: ")
    assert not list(tmp_path.rglob("run.json"))


@pytest.fixture(scope="module")
def phone(tmp_path_factory):
    """A video of another size and rate: a light that moves over a dark, wide picture."""
    frames = torch.full((21, 48, 96, 3), 60, dtype=torch.uint8)
    for number, frame in enumerate(frames):
        frame[16:32, 24 + number : 40 + number] = 200
    path = tmp_path_factory.mktemp("phone") / "in, 1.mp4"
    write_video(path, frames, (48, 96), 30000 / 1001)
    return path


def test_any_video_is_refined_in_the_place_of_a_structure_at_its_own_rate(phone, tmp_path):
    words = (
        PROMPT,
        f"structure.video={phone}",
        f"output.dir={tmp_path / 'run'}",
        "output.save_latents=true",
    )
    folder = generate(*words, *LONG).folder
    facts, result = facts_of(folder), probe(folder / "video.mp4")
    assert (result.num_frames, result.size) == (21, (64, 64))
    assert result.fps == pytest.approx(30000 / 1001, abs=1e-4)
    assert facts["evaluations"]["control"] == 0 < facts["evaluations"]["spatial"]
    for name in ("structure.mp4", "video.mp4"):  # both see in the light something red, where it is
        red, _, blue = read_video(folder / name).float().unbind(dim=-1)
        weight = (red - blue - 80).clamp(min=0).sum(dim=1)
        centres = (weight * torch.arange(64)).sum(dim=1) / weight.sum(dim=1)
        lit = (
            24 + torch.arange(21) + 8
        ) * 4 / 3 - 32  # scaled by 4/3, then 32 cropped from each side
        assert centres.tolist() == pytest.approx(lit.tolist(), abs=5), name
    tensors = load_file(folder / "latents.safetensors")
    assert tensors["structure"].shape == tensors["refined"].shape == (1, 4, 21, 8, 8)


@pytest.mark.thorough
def test_a_given_video_is_cut_where_the_length_says_and_refused_where_it_is_too_short(
    phone, tmp_path
):
    words = (PROMPT, f"structure.video={phone}", *LONG, *SMALL)
    folder = generate(*words, "num_frames=5", "fps=10", f"output.dir={tmp_path / 'run'}").folder
    assert len(read_video(folder / "video.mp4")) == 5 and probe(folder / "video.mp4").fps == 10
    ending = generate(*words, "num_frames=22", f"output.dir={tmp_path / 'other'}")
    assert ending.code == 2 and "has: 21" in ending.err


@pytest.mark.thorough
def test_a_given_video_that_has_changed_or_that_nothing_would_refine_is_refused(phone, tmp_path):
    words = (PROMPT, f"structure.video={phone}", *SMALL)
    alone = generate(*words, "scheduler=spatial_alone", f"output.dir={tmp_path / 'alone'}")
    assert alone.code == 2 and "has no refinement" in alone.err
    own = tmp_path / "own.mp4"
    own.write_bytes(phone.read_bytes())
    run = generate(
        PROMPT,
        f"structure.video={own}",
        *LONG,
        *SMALL,
        "num_frames=5",
        f"output.dir={tmp_path / 'run'}",
    ).folder
    write_video(own, read_video(phone)[:9], (48, 96), 30)
    again = generate(f"from={run}", f"output.dir={tmp_path / 'again'}")
    assert again.code == 2 and "is not the video it was" in again.err
    other = generate(f"from={run}", f"structure.video={phone}", f"output.dir={tmp_path / 'other'}")
    assert torch.equal(read_video(other.folder / "video.mp4"), read_video(run / "video.mp4"))


def test_without_an_end_the_first_ctrl_c_finishes_the_file(tmp_path):
    process = forked(
        "generate", PROMPT, "num_frames=inf", "output.dir=run", "output.save_latents=true",
        *LONG, *SMALL, folder=tmp_path,
    )  # fmt: skip
    folder, deadline = tmp_path / "run", time.monotonic() + 240
    while len(list((folder / "parts").glob("video-*.mp4"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    ending = ended(process)
    assert ending.code == 0, ending.err
    assert ending.out.strip() == str(folder / "video.mp4")
    facts, frames = facts_of(folder), read_video(folder / "video.mp4")
    assert (
        facts["status"] == "done"
        and facts["stopped_at"] == len(frames) == facts["config"]["num_frames"] >= 9
    )
    assert len(read_video(folder / "structure.mp4")) == len(frames)
    latents = load_file(folder / "latents.safetensors")
    assert {len(latents[name][0, 0]) for name in ("structure", "refined")} == {len(frames)}
    assert not (folder / "parts").exists()
    again = generate(f"from={folder / 'video.mp4'}", f"output.dir={tmp_path / 'again'}")
    assert torch.equal(read_video(again.folder / "video.mp4"), frames)


@pytest.mark.thorough
def test_latents_on_disk_stay_a_few_whatever_the_length(tmp_path, monkeypatch):
    most = {"structure": 0, "window": 0}
    plain = executor.discard_unneeded

    def discard(graph, store):
        plain(graph, store)
        for kind in most:
            kept = sum(task.kind == kind for task in store.latents())
            most[kind] = max(most[kind], kept)

    monkeypatch.setattr(executor, "discard_unneeded", discard)
    words = ("num_frames=40", "long_video.coherence=0.1", f"output.dir={tmp_path / 'run'}")
    folder = generate(PROMPT, *words, *LONG, *SMALL).folder
    # Encoders may be two chunks behind.
    assert 1 <= most["structure"] <= 5 and 1 <= most["window"] <= 5
    assert len(read_video(folder / "video.mp4")) == 40
    events = [
        json.loads(line)
        for line in (folder / "events.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    wrote = [(event["event"], event.get("file", event.get("index"))) for event in events]
    assert wrote.index(("wrote", "parts/video-000000.mp4")) < wrote.index(("structure", 9))
    assert {path.suffix for path in folder.iterdir()} <= {
        ".mp4",
        ".png",
        ".json",
        ".jsonl",
        ".log",
        "",
    }


@pytest.mark.thorough
def test_a_short_videos_recipe_is_no_bound_for_a_longer_one(tmp_path):
    words = [word for word in LONG if not word.startswith(("long_video.seg", "long_video.win"))]
    words += SMALL
    short = generate(PROMPT, "num_frames=5", f"output.dir={tmp_path / 'short'}", *words)
    assert facts_of(short.folder)["config"]["long_video"]["segment_frames"] == 5
    longer = generate(f"from={short.folder}", "num_frames=20", f"output.dir={tmp_path / 'longer'}")
    recorded = facts_of(longer.folder)["config"]["long_video"]
    assert (recorded["segment_frames"], recorded["window_overlap"]) == (16, 8)


def test_a_plan_of_a_video_without_an_end_is_refused():
    from support.command_line import confiner

    ending = confiner("plan", "num_frames=inf", "long_video=confiner_long")
    assert ending.code == 2 and "without an end" in ending.err
