"""`confiner generate -m`: one process, one loading, every job on its own, a table, an exit code."""

import json
import re

import pytest
import torch
from safetensors.torch import load_file
from support.command_line import PROMPT, QUICK, SMALLEST, confiner, facts_of, generate

from confiner_cli.commands.sweep import sweep_root
from confiner_cli.errors import ConfinerError, Terminated
from confiner_cli.experts.components import Components
from confiner_cli.runs import execute as run

pytestmark = pytest.mark.usefixtures("folder")


def table(err: str) -> list[list[str]]:
    """The table's rows: job, status."""
    return [
        line.split()[:2]
        for line in err.splitlines()
        if re.match(r"  \d+ +(done|failed|interrupted)", line)
    ]


def test_repeated_prompts_and_values_are_swept_in_the_order_typed(folder):
    ending = generate("prompt=two, three", "-m", "seed=2,1", *SMALLEST, "prompt=(one)")
    assert ending.code == 0, ending.err
    made = [(facts_of(run)["prompt"], facts_of(run)["seed"]) for run in ending.folders]
    assert made == [("two, three", 2), ("two, three", 1), ("(one)", 2), ("(one)", 1)]
    (root,) = {run.parent for run in ending.folders}
    assert ending.err.startswith(f"4 jobs in {root}\n")
    assert re.fullmatch(r"multirun/\d{4}-\d\d-\d\d/\d\d-\d\d-\d\d", str(root.relative_to(folder)))
    names = sorted(path.name for path in root.iterdir() if path.is_dir())
    assert names == ["0-two-three-s2", "1-two-three-s1", "2-one-s2", "3-one-s1"]
    assert table(ending.err) == [[str(number), "done"] for number in range(4)]


def test_a_file_of_prompts_is_swept_into_the_chosen_folder(folder):
    (folder / "prompts.txt").write_bytes("\ufeffa red heart\r\n\r\n${a}, 'b'\n".encode())
    ending = generate("-m", "prompts_file=prompts.txt", "output.dir=runs/all", "seed=1", *SMALLEST)
    assert [run.relative_to(folder / "runs" / "all").name for run in ending.folders] == [
        "0-a-red-heart-s1",
        "1-a-b-s1",
    ]
    assert [facts_of(run)["prompt"] for run in ending.folders] == ["a red heart", "${a}, 'b'"]


def test_experts_are_loaded_once_for_all_jobs_whatever_their_guidance(monkeypatch):
    read = []
    monkeypatch.setattr(Components, "model", spied(Components.model, read))
    assert (
        generate("-m", PROMPT, "prompt=b", "experts.spatial.guidance_scale=1,2", *SMALLEST).code
        == 0
    )
    assert sorted(read).count("unet") == 1


def spied(method, calls):
    def call(parts, name, kind):
        calls.append(name)
        return method(parts, name, kind)

    return call


def test_a_failing_job_is_told_and_recorded_and_the_sweep_goes_on():
    ending = generate(
        "-m", PROMPT, "height=24,17,16", *(word for word in SMALLEST if word != "height=16")
    )
    assert ending.code == 1
    assert [facts_of(run)["config"]["height"] for run in ending.folders] == [24, 16]
    assert "job 1: error: height=17 is not a multiple of 8\nhint: height=16\n" in ending.err
    assert table(ending.err) == [["0", "done"], ["1", "failed:"], ["2", "done"]]
    root = ending.folders[0].parent
    assert f"2 of 3 done in {root}" in ending.err
    jobs = [path for path in root.iterdir() if path.is_dir()]
    assert sorted(facts_of(job)["status"] for job in jobs) == ["done", "done", "failed"]


def test_a_job_that_fails_while_it_runs_keeps_its_folder(monkeypatch):
    def fail(path, *arguments):
        if path.parent.name.startswith("0-"):
            raise ZeroDivisionError("seven by nought")

    monkeypatch.setattr(run, "write_contact_sheet", fail)
    ending = generate("-m", PROMPT, "seed=1,2", *SMALLEST)
    assert ending.code == 1
    (done,) = ending.folders
    (failed,) = (path for path in done.parent.glob("0-*"))
    assert facts_of(failed)["error"] == "ZeroDivisionError: seven by nought"


@pytest.mark.parametrize(
    ("stop", "code"),
    [(KeyboardInterrupt, 130), pytest.param(Terminated, 143, marks=pytest.mark.thorough)],
)
def test_an_interruption_ends_the_sweep_with_its_table(folder, monkeypatch, stop, code):
    write = run.write_contact_sheet

    def interrupted(path, *arguments):
        if path.parent.name.startswith("1-"):
            raise stop
        write(path, *arguments)

    monkeypatch.setattr(run, "write_contact_sheet", interrupted)
    ending = generate("-m", PROMPT, "seed=1,2,3", *SMALLEST, "output.dir=all")
    assert ending.code == code
    assert table(ending.err) == [["0", "done"], ["1", "interrupted"]]
    assert [path.name[:2] for path in sorted((folder / "all").glob("*/"))] == ["0-", "1-"]


def test_of_two_sweeps_into_one_folder_the_second_is_refused_while_the_first_runs(
    folder, monkeypatch
):
    write, seen = run.write_contact_sheet, []

    def meanwhile(path, *arguments):
        monkeypatch.setattr(run, "write_contact_sheet", write)
        with (
            pytest.raises(ConfinerError, match=r"in use|not empty"),
            sweep_root("all"),
        ):
            seen.append("let in")
        seen.append("refused")
        write(path, *arguments)

    monkeypatch.setattr(run, "write_contact_sheet", meanwhile)
    assert generate("-m", PROMPT, *SMALLEST, "output.dir=all").code == 0
    assert seen == ["refused"] and not (folder / "all" / ".sweep").exists()


def test_a_single_job_is_a_sweep_too():
    assert len(generate("-m", PROMPT, *SMALLEST).folders) == 1


BATCHED = ("-m", PROMPT, *QUICK, "height=32", "width=32", "output.save_latents=true")


@pytest.mark.thorough
def test_seeds_of_a_batch_are_sampled_together_each_into_its_own_run(folder):
    ending = generate(*BATCHED, "seed=1,2,3", "batch=2", "output.dir=together")
    assert ending.code == 0, ending.err
    names = [run.name for run in ending.folders]
    assert [name.rpartition("-")[2] for name in names] == ["s1", "s2", "s3"]
    assert [name.partition("-")[0] for name in names] == ["0", "0", "1"]
    records = [facts_of(run) for run in ending.folders]
    assert [record.get("batch") for record in records] == [2, 2, None]
    alone = generate(*BATCHED, "seed=1,2,3", "output.dir=alone").folders
    for one, other, record in zip(ending.folders, alone, records, strict=True):
        assert record["evaluations"] == facts_of(other)["evaluations"]
        assert record["config"]["seed"] == record["seed"] == facts_of(other)["seed"]
        together, own = (load_file(run / "latents.safetensors") for run in (one, other))
        assert torch.equal(together["base_noise"], own["base_noise"])
        for name in ("structure", "refined"):
            difference = (together[name] - own[name]).norm()
            assert difference < 1e-4 * own[name].norm(), name
    again = generate(f"from={ending.folders[1]}", *SMALLEST[-1:]).folder
    assert facts_of(again)["seed"] == 2


def test_a_video_without_an_end_is_refused_in_a_sweep_wherever_it_comes_from(folder):
    made = generate(PROMPT, *SMALLEST, "long_video=confiner_long", "output.dir=endless").folder
    facts = facts_of(made)
    facts["config"]["num_frames"] = "inf"
    (made / "run.json").write_text(json.dumps(facts))
    ending = generate("-m", f"from={made}", "seed=1,2", "output.dir=all")
    assert ending.code == 1 and ending.out == ""
    assert ending.err.count("a video without an end does not go with a sweep") >= 2
    records = [facts_of(path) for path in (folder / "all").iterdir() if path.is_dir()]
    assert [record["status"] for record in records] == ["failed"] * 2


def test_of_a_batch_that_cannot_be_opened_whole_nothing_says_running(folder, monkeypatch):
    def once(*arguments):
        monkeypatch.setattr(run, "open_run", refuse)
        return opened(*arguments)

    def refuse(*arguments):
        raise OSError(13, "Permission denied", "parts")

    opened = run.open_run
    monkeypatch.setattr(run, "open_run", once)
    ending = generate("-m", PROMPT, *SMALLEST, "seed=1,2", "batch=2", "output.dir=all")
    assert ending.code == 1
    (record,) = (facts_of(path.parent) for path in folder.glob("all/*/run.json"))
    assert (record["status"], record["files"]) == ("failed", {}) and "parts" in record["error"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("-m", "seed=1,2", "batch=0"), "batch= takes one whole number"),
        (("-m", "seed=1,2", "batch=2,3"), "batch= takes one whole number"),
        (("-m", "batch=2"), "batch=2 is for a sweep over seeds"),
        (("-m", "seed=null", "batch=2"), "batch=2 is for a sweep over seeds"),
        (("seed=1", "batch=2"), "batch=2 is for a sweep over seeds"),
        (("seeds=[1,2]",), "seeds= is what batch= makes"),
    ],
    ids=" ".join,
)
def test_a_batch_without_seeds_to_put_into_it_is_refused(folder, words, said):
    ending = generate(PROMPT, *SMALLEST, *words)
    assert (ending.code, ending.out) == (2, "") and said in ending.err, ending.err
    assert not list(folder.rglob("*.mp4"))


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("resume=True", "does not know which sweep"),
        ("resume=false,true", "does not go with a sweep"),
        ("++resume=yes", "does not know which sweep"),
    ],
)
def test_to_resume_needs_one_folder_however_it_is_written(folder, word, said):
    ending = generate("-m", PROMPT, *SMALLEST, word)
    assert (ending.code, ending.out) == (2, "") and said in ending.err
    assert not any(folder.iterdir())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("hydra/sweeper=optuna", "seed=range(9)"), "objective=flicker"),
        (("objective=flickr",), "did you mean flicker?"),
        (("seed=interval(0,1)",), "hydra/sweeper=optuna"),
    ],
    ids=" ".join,
)
def test_a_sweeper_that_could_not_choose_is_refused_before_there_is_a_folder(folder, words, said):
    ending = generate("-m", PROMPT, *SMALLEST, *words)
    assert (ending.code, ending.out) == (2, "") and said in ending.err, ending.err
    assert not any(folder.iterdir())


@pytest.mark.thorough
def test_a_sweeper_s_jobs_return_what_is_asked_for_and_it_goes_on_with_the_same_ones(folder):
    search = ("hydra/sweeper=optuna", "hydra.sweeper.n_trials=4", "hydra.sweeper.n_jobs=2")
    values = ("seed=range(1,9)", "output.dir=all", "objective=seconds.total")
    ending = generate("-m", 'prompt=a "red" heart, ${rising}', *SMALLEST, *search, *values)
    assert ending.code == 0 and len(ending.folders) == 4, ending.err
    records = {int(run.name[0]): facts_of(run) for run in ending.folders}
    assert {record["prompt"] for record in records.values()} == {'a "red" heart, ${rising}'}
    found = (folder / "all" / "optimization_results.yaml").read_text()
    least = min(record["seconds"]["total"] for record in records.values())
    assert f"best_value: {least}" in found
    (ending.folders[2] / "video.mp4").unlink()
    again = confiner("resume", "all")
    assert again.code == 0 and sorted(again.folders) == sorted(ending.folders), again.err
