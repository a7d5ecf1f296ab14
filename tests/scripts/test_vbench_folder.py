"""VBench finds every finished video under its own prompt, and nobody loses a file."""

import errno
import json
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from unittest import mock

import pytest
from support.command_line import SMALLEST, generate

import vbench_folder

ROOT = Path(__file__).parents[2]
HOSTILE = [
    "a red heart", "a red heart, version-3", "a red heart, version-3-0", "-3", "- a hyphen first",
    ".", ".hidden", "ends in .mp4", "ends in a full stop.",
    'says "yes" and \'no\': $HOME `ls` \\ * ? % | < > ${x}', "🦊 über 雪",
    "cafe\u0301", "caf\u00e9", "a Fox", "a fox",
]  # fmt: skip
IMPOSSIBLE = [
    "10/10 quality",
    "/",
    "two\nlines",
    "x" * 250,
    "雪" * 90,
    "x" * 300 + " a",
    "x" * 300 + " b",
]


class Runs:
    """A folder of runs as confiner leaves them, with a few bytes for videos."""

    def __init__(self, root):
        self.root = root

    def add(self, prompt="a red heart", seed=0, status="done", parent="runs", **changes):
        number = len([*self.root.rglob("run.json")])
        folder = self.root / parent / f"{number}-s{seed}"
        folder.mkdir(parents=True)
        video = f"{prompt} {seed} {number}".encode()
        (folder / "video.mp4").write_bytes(video)
        config = {
            "prompt": prompt, "prompts": {}, "negative_prompt": "", "seed": seed, "fps": 8,
            "memory": "auto", "scheduler": {"name": "confiner_9", "refinement": {"te": 100}},
            "structure": {"video": None, "sha256": None},
            "output": {"dir": str(folder), "save_latents": False},
        } | changes  # fmt: skip
        files = {"video.mp4": sha256(video).hexdigest()}
        facts = {"status": status, "prompt": prompt, "seed": seed, "config": config, "files": files}
        (folder / "run.json").write_text(json.dumps(facts), encoding="utf-8")
        return folder

    def lay_out(self, *names, to="vbench"):
        return vbench_folder.main(
            [*(str(self.root / name) for name in names or ["runs"]), str(self.root / to)]
        )

    @property
    def out(self):
        return self.root / "vbench"

    @property
    def prompts(self):
        return json.loads((self.root / "vbench.json").read_text(encoding="ascii"))

    @property
    def made(self):
        """The runs' folders by the names of the files that are links to their videos."""
        videos = {path.stat().st_ino: path.parent for path in self.root.rglob("video.mp4")}
        return {path.name: videos[path.stat().st_ino] for path in self.out.iterdir()}


@pytest.fixture
def runs(tmp_path):
    return Runs(tmp_path)


def prompt_in(name):
    """As VBench 0.1.5 reads a name in its custom mode (vbench/utils.py, get_prompt_from_filename):
    no extension, and no last hyphen that only digits follow."""
    stem = Path(name).stem
    head, hyphen, digits = stem.rpartition("-")
    return head if hyphen and digits.isdecimal() else stem


def found_by_standard_mode(folder, prompt):
    """As VBench 0.1.5 looks for a prompt's five files (vbench/__init__.py, build_full_info_json):
    with the extension of whatever the system lists first."""
    there = [path.name for path in folder.iterdir()]
    return [
        name for name in (f"{prompt}-{i}{Path(there[0]).suffix}" for i in range(5)) if name in there
    ]


def found_by_custom_mode(folder, prompt_file):
    """As VBench 0.1.5 gives videos the prompts of a file (the same function): keys are paths from
    the folder, and none of its videos may lack one."""
    prompts = {
        folder / key: prompt
        for key, prompt in json.loads(prompt_file.read_text(encoding="ascii")).items()
    }
    videos = [
        path for path in folder.iterdir() if path.suffix.lower() in (".mp4", ".gif", ".jpg", ".png")
    ]
    assert len(prompts) >= len(videos)
    return {path.name: prompts[path] for path in videos}


def test_vbench_reads_back_every_prompt_that_can_be_a_name(runs):
    folders = {runs.add(prompt, seed): prompt for prompt in HOSTILE for seed in (5, 6)}
    assert runs.lay_out() == 0
    assert {name: prompt_in(name) for name in runs.made} == {
        name: folders[run] for name, run in runs.made.items()
    }
    assert found_by_custom_mode(runs.out, runs.root / "vbench.json") == runs.prompts
    for prompt in HOSTILE:
        assert found_by_standard_mode(runs.out, prompt) == [f"{prompt}-0.mp4", f"{prompt}-1.mp4"]


def test_a_prompt_that_cannot_be_a_name_is_in_the_prompt_file_and_told(runs, capsys):
    folders = {
        runs.add(prompt, seed): prompt for prompt in [*IMPOSSIBLE, *HOSTILE] for seed in (1, 2)
    }
    assert runs.lay_out() == 0
    given = found_by_custom_mode(runs.out, runs.root / "vbench.json")
    assert given == {name: folders[run] for name, run in runs.made.items()}
    assert len(given) == len(folders)
    assert all(len(name.encode()) <= 255 for name in given)
    assert f"prompts that cannot name a file here: {len(IMPOSSIBLE)};" in capsys.readouterr().err
    assert all(found_by_standard_mode(runs.out, prompt) == [] for prompt in IMPOSSIBLE)


def test_the_longest_name_is_used_and_one_byte_more_is_not(runs):
    longest = 255 - len("-0.mp4")
    runs.add("é" * (longest // 2) + "x" * (longest % 2))
    runs.add("x" * (longest + 1))
    assert runs.lay_out() == 0
    assert sorted(prompt_in(name) == prompt for name, prompt in runs.prompts.items()) == [
        False,
        True,
    ]


def test_a_stand_in_is_no_other_prompts_name(runs):
    runs.add("x" * 300)
    assert runs.lay_out() == 0
    (name,) = runs.prompts
    other = runs.add(prompt_in(name))
    assert runs.lay_out() == 0
    assert runs.made[name] == other and sorted(runs.prompts.values()) == [
        prompt_in(name),
        "x" * 300,
    ]


def test_prompts_that_differ_in_capitals_or_accents_have_two_names_on_a_mac(runs, monkeypatch):
    monkeypatch.setattr(vbench_folder, "tells_capitals_apart", lambda directory: False)
    for prompt in HOSTILE:
        runs.add(prompt)
    assert runs.lay_out() == 0
    assert len({vbench_folder.folded(name) for name in runs.prompts}) == len(HOSTILE)
    assert sorted(found_by_custom_mode(runs.out, runs.root / "vbench.json").values()) == sorted(
        HOSTILE
    )
    assert (
        sum(prompt_in(name) == prompt for name, prompt in runs.prompts.items()) == len(HOSTILE) - 2
    )


def test_files_are_counted_by_seed_as_a_number(runs):
    made = {seed: runs.add(seed=seed) for seed in (10, 9, 2**40, 0)}
    assert runs.lay_out() == 0
    assert runs.made == {
        f"a red heart-{i}.mp4": made[seed] for i, seed in enumerate((0, 9, 10, 2**40))
    }


def test_videos_are_hard_links(runs):
    run = runs.add()
    assert runs.lay_out() == 0
    assert (runs.out / "a red heart-0.mp4").samefile(run / "video.mp4")


def test_across_file_systems_videos_are_copied_once(runs, monkeypatch, capsys):
    monkeypatch.setattr(
        Path, "hardlink_to", mock.Mock(side_effect=OSError(errno.EXDEV, "another disk"))
    )
    run = runs.add("x" * 249)  # no letter may be added to its name
    assert runs.lay_out() == 0
    assert "copied: 1" in capsys.readouterr().err
    (copy,) = runs.out.iterdir()
    assert copy.read_bytes() == (run / "video.mp4").read_bytes()
    before = copy.stat()
    assert runs.lay_out() == 0
    assert copy.stat().st_ino == before.st_ino and copy.stat().st_mtime_ns == before.st_mtime_ns


def test_what_a_killed_copy_left_is_swept_away(runs):
    runs.add()
    runs.out.mkdir()
    (runs.out / ".vbench-folder.17.writing.mp4").write_bytes(b"half of")
    assert runs.lay_out() == 0
    assert [path.name for path in runs.out.iterdir()] == ["a red heart-0.mp4"]


def test_the_same_command_again_changes_nothing(runs):
    for prompt in (*HOSTILE, *IMPOSSIBLE):
        runs.add(prompt)
    assert runs.lay_out() == 0
    before = runs.made, runs.prompts
    assert runs.lay_out() == 0
    assert (runs.made, runs.prompts) == before


def test_the_same_command_after_more_runs_counts_anew(runs):
    second = runs.add(seed=2)
    assert runs.lay_out() == 0
    first = runs.add(seed=1)
    other = runs.add("a blue star")
    assert runs.lay_out() == 0
    assert runs.made == {
        "a red heart-0.mp4": first,
        "a red heart-1.mp4": second,
        "a blue star-0.mp4": other,
    }
    assert runs.prompts == {name: prompt_in(name) for name in runs.made}


@pytest.mark.parametrize(
    "name",
    ["vbench/notes.txt", "vbench/a red heart-0.mp4", "vbench/.mine", "vbench/sub/x", "vbench.json"],
)
def test_a_folder_with_anything_else_in_it_is_refused_and_stays_as_it_is(runs, capsys, name):
    runs.add()
    runs.out.mkdir()
    (runs.root / name).parent.mkdir(exist_ok=True)
    (runs.root / name).write_text('{"mine.mp4": "my own prompt"}')
    before = sorted(runs.root.rglob("*"))
    assert runs.lay_out() == 2
    assert sorted(runs.root.rglob("*")) == before
    assert (runs.root / name).read_text() == '{"mine.mp4": "my own prompt"}'
    assert two_lines(capsys)


def test_the_last_link_to_a_video_is_not_lost_with_its_run(runs):
    gone = runs.add(seed=1)
    runs.add(seed=2)
    assert runs.lay_out() == 0
    before = {path.name: path.stat().st_ino for path in runs.out.iterdir()}
    for path in gone.iterdir():
        path.unlink()
    assert runs.lay_out() == 2
    assert {path.name: path.stat().st_ino for path in runs.out.iterdir()} == before


def test_runs_that_are_not_finished_or_not_intact_are_left_out_and_named(runs, capsys):
    good = runs.add(seed=1)
    bad = {
        status: runs.add(seed=2, status=status) for status in ("running", "failed", "interrupted")
    }
    for number, damage in enumerate(("changed", "gone", "not JSON", "empty")):
        run = bad[damage] = runs.add(seed=3 + number)
        if damage == "gone":
            (run / "video.mp4").unlink()
        else:
            name, text = {"changed": ("video.mp4", "x"), "not JSON": ("run.json", "{")}.get(
                damage, ("run.json", "{}")
            )
            (run / name).write_text(text)
    bad["relay"] = runs.add(seed=9, prompts={"8": "a blue star"})
    bad["picture"] = runs.add(seed=10, output={"format": "gif"})
    assert runs.lay_out() == 0
    assert runs.made == {"a red heart-0.mp4": good}
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("left out: ")]
    assert sorted(line.split(": ")[1] for line in lines) == sorted(map(str, bad.values()))


def test_a_run_named_twice_counts_once_and_a_seed_made_twice_is_told(runs, capsys):
    first, again = runs.add(seed=1), runs.add(seed=1)
    other = runs.add(seed=2)
    assert runs.lay_out("runs", f"runs/{other.name}", "runs/../runs") == 0
    assert runs.made == {"a red heart-0.mp4": first, "a red heart-1.mp4": other}
    assert (
        f"left out: {again}: it has the prompt and the seed of {first}" in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        (
            {"scheduler": {"name": "confiner_9", "refinement": {"te": 200}}},
            "scheduler.refinement.te",
        ),
        ({"negative_prompt": "grass"}, "negative_prompt"),
        ({"fps": 16}, "fps"),
        ({"structure": {"video": "coarse.mp4", "sha256": "0"}}, "structure.video"),
    ],
)
@pytest.mark.parametrize("prompt", ["a red heart", "a blue star"])
def test_mixed_settings_are_refused_by_name_before_anything_is_made(
    runs, capsys, changes, key, prompt
):
    runs.add()
    runs.add(prompt, **changes)
    assert runs.lay_out() == 2
    assert f"different settings: {key} (" in two_lines(capsys)
    assert not runs.out.exists() and not (runs.root / "vbench.json").exists()


def test_memory_output_and_each_prompts_own_coarse_video_may_differ(runs):
    runs.add("a", memory="low", structure={"video": "a.mp4", "sha256": "a"})
    runs.add(
        "b",
        parent="others",
        output={"dir": None, "save_latents": True},
        structure={"video": "b", "sha256": "b"},
    )
    assert runs.lay_out("runs", "others") == 0
    assert len(runs.made) == 2


@pytest.mark.parametrize("missing", ["no runs at all", "none finished"])
def test_nothing_to_evaluate_is_an_error_that_makes_nothing(runs, capsys, missing):
    (runs.root / "runs").mkdir()
    if missing == "none finished":
        runs.add(status="failed")
    assert runs.lay_out() == 2
    assert two_lines(capsys) and not runs.out.exists()


def two_lines(capsys):
    lines = [
        line for line in capsys.readouterr().err.splitlines() if not line.startswith("left out: ")
    ]
    assert [line.split(": ")[0] for line in lines] == ["error", "hint"]
    return lines[0]


def test_the_command_lays_out_a_real_sweep_as_a_user_runs_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prompts.txt").write_text("a red heart\n10/10, a blue star\n", encoding="utf-8")
    sweep = generate("-m", "prompts_file=prompts.txt", "seed=3,1", "output.dir=runs", *SMALLEST)
    assert sweep.code == 0, sweep.err
    command = [
        sys.executable,
        str(ROOT / "scripts" / "vbench_folder.py"),
        "runs",
        "videos/all of them",
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "LC_ALL": "C"}
    result = subprocess.run(command, env=environment, text=True, capture_output=True, check=False)
    assert (result.returncode, result.stdout) == (0, f"{tmp_path / 'videos' / 'all of them'}\n"), (
        result.stderr
    )
    assert "videos: 4, prompts: 2, videos of a prompt: 2, copied: 0" in result.stderr
    assert "special characters" in result.stderr
    given = found_by_custom_mode(Path("videos/all of them"), Path("videos/all of them.json"))
    assert sorted(given.values()) == ["10/10, a blue star"] * 2 + ["a red heart"] * 2
    by_seed = {folder.name[-2:]: folder / "video.mp4" for folder in sweep.folders[:2]}
    assert Path("videos/all of them/a red heart-0.mp4").samefile(by_seed["s1"])
    assert Path("videos/all of them/a red heart-1.mp4").samefile(by_seed["s3"])
