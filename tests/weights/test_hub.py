"""Experts from the hub: found, fetched and checked, through a stand-in with small models."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from support import published
from support.command_line import confiner, ended, started
from support.published import BASE, LAVIE, LIGHTNING, MODELSCOPE, PINNED, SD15, TAESD
from support.stand_in_hub import (
    PAGE,
    Fault,
    StandInHub,
    environment,
    forbid_sockets,
    in_process,
)

from confiner_cli.errors import ConfinerError
from confiner_cli.weights import hub as ours
from confiner_cli.weights import hub_listing, repository_download
from confiner_cli.weights.blob_download import kept_bytes
from confiner_cli.weights.checksums import verify_file
from confiner_cli.weights.hub_cache import blob_folder
from confiner_cli.weights.model_ref import Requirement, model_ref
from confiner_cli.weights.stream_download import StoppedError, stream_download

ZEROSCOPE = "cerspense/zeroscope_v2_576w"
SMALL = ("height=16", "width=24", "num_frames=2")
UNET = "unet/diffusion_pytorch_model.fp16.safetensors"
COMPONENTS = ("unet", "text_encoder", "tokenizer", "vae", "scheduler")


def requirement(model: str = SD15, components=COMPONENTS) -> Requirement:
    return Requirement(model_ref(model), components)


def fetch(wanted: Requirement) -> Path:
    download = hub_listing.missing(wanted)
    assert download is not None
    assert sum(download.arriving()) <= download.size
    return ours.cached(wanted)


@pytest.mark.parametrize("kind", ["absent", "busy"])
def test_a_mistyped_path_is_told_as_one(kind, hub, tmp_path, monkeypatch):
    (tmp_path / "models" / "my-model").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    hub.faults["models/my-modle", None] = Fault(kind)
    with pytest.raises(ConfinerError, match=r"models/my-modle is n.* path on this mach") as caught:
        hub_listing.missing(requirement("models/my-modle"))
    assert caught.value.hint.endswith("did you mean models/my-model?")


@pytest.mark.parametrize("name", ["loras/stile.safetensors", "models/mm.ckpt", "a/b.pt"])
def test_the_name_of_a_file_is_no_repository(name):
    assert model_ref(name).path == Path(name)
    assert model_ref(f"owner/repository:{name}").file == name


@pytest.mark.thorough
@pytest.mark.filterwarnings(
    "ignore:unclosed file <_io.Buffered:ResourceWarning"
)  # imageio-ffmpeg's pipes
@pytest.mark.parametrize(
    ("experts", "temporal"),
    [
        ("lavie_sd", LAVIE),
        pytest.param("modelscope_sd", MODELSCOPE, marks=pytest.mark.thorough),
    ],
)
def test_a_set_from_the_hub_makes_a_video_and_the_next_one_without_a_socket(
    experts, temporal, hub, tmp_path, monkeypatch
):
    words = ("generate", "prompt=a heart", f"experts={experts}", *SMALL, "seed=1")
    first = confiner(*words, f"output.dir={tmp_path / 'one'}")
    assert first.code == 0, first.err
    assert (
        "downloading" in first.err
        and "CreativeML OpenRAIL-M" in first.err
        and "are free there" in first.err
    )
    facts = json.loads((tmp_path / "one" / "run.json").read_text(encoding="utf-8"))
    assert facts["status"] == "done" and facts["evaluations"] == {
        "control": 4,
        "spatial": 10,
        "temporal": 5,
    }
    assert {"config.json"} != hub.fetched(temporal) != set()
    for repo in (SD15, BASE, LIGHTNING, temporal):
        for name in hub.fetched(repo):
            assert (hub.root / repo / name).read_bytes() != published.UNWANTED, name
            assert not name.endswith(".bin") and "safety" not in name and "feature" not in name
    assert {name for name in hub.fetched(LIGHTNING) if name.endswith(".safetensors")} == {
        "animatediff_lightning_4step_diffusers.safetensors"
    }
    seen = len(hub.requests)
    forbid_sockets(monkeypatch)
    assert confiner(*words, f"output.dir={tmp_path / 'two'}").code == 0
    assert len(hub.requests) == seen
    assert (tmp_path / "one" / "video.mp4").stat().st_size == (
        tmp_path / "two" / "video.mp4"
    ).stat().st_size


def test_only_what_is_needed_is_fetched_and_that_in_16_bits(hub):
    folder = fetch(requirement())
    assert hub.fetched(SD15) == {
        "model_index.json",
        "scheduler/scheduler_config.json",
        "unet/config.json",
        UNET,
        "vae/config.json",
        "vae/diffusion_pytorch_model.fp16.safetensors",
        "text_encoder/config.json",
        "text_encoder/model.fp16.safetensors",
        "tokenizer/vocab.json",
        "tokenizer/merges.txt",
        "tokenizer/tokenizer_config.json",
        "tokenizer/special_tokens_map.json",
    }
    assert folder.name == PINNED[SD15]


def test_without_16_bit_files_the_plain_ones_are_fetched_never_a_pickle(hub):
    fetch(requirement(BASE, ("unet",)))
    weights = {name for name in hub.fetched(BASE) if not name.endswith(".json")}
    assert weights == {"unet/diffusion_pytorch_model.safetensors"}


def test_what_is_in_the_cache_is_found_without_a_socket(hub, monkeypatch):
    folder = fetch(requirement())
    forbid_sockets(monkeypatch)
    assert hub_listing.missing(requirement()) is None
    assert ours.cached(requirement()) == folder


def test_a_part_that_is_missing_in_the_cache_is_fetched_alone(hub):
    fetch(requirement(components=("unet",)))
    before = hub.fetched(SD15)
    fetch(requirement(components=("unet", "vae")))
    assert hub.fetched(SD15) - before == {
        "vae/config.json",
        "vae/diffusion_pytorch_model.fp16.safetensors",
    }


FAULTS = {
    "a repository that is gone": (
        (SD15, None),
        Fault("absent"),
        "neither a path on this machine nor a repository",
    ),
    "a gated repository": ((SD15, UNET), Fault("gated"), "is gated"),
    "a connection cut in mid-file": ((SD15, UNET), Fault("cut"), "cannot be fetched"),
    "a connection reset": ((SD15, UNET), Fault("reset"), "cannot be fetched"),
    "a file shorter than announced": ((SD15, UNET), Fault("short"), "cannot be fetched"),
    "a flipped bit": ((SD15, UNET), Fault("flipped"), "does not have the hash"),
    "a flipped bit in a small file": (
        (SD15, "unet/config.json"),
        Fault("flipped"),
        "does not have the hash",
    ),
    "a web page in place of weights": ((SD15, UNET), Fault("html"), "does not have the hash"),
    "a hub that is always busy": ((SD15, None), Fault("busy"), "cannot be fetched"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_after_a_fault_nothing_half_passes_as_whole(fault, hub):
    place, kind, words = FAULTS[fault]
    hub.faults[place] = kind
    with pytest.raises(ConfinerError, match=words) as met:
        fetch(requirement())
    assert "stable-diffusion-v1-5" in str(met.value) and met.value.hint
    assert ours.found(requirement()) is None
    hub.faults.clear()
    folder = fetch(requirement())
    for name in (UNET, "unet/config.json"):
        assert (folder / name).read_bytes() == (hub.root / SD15 / name).read_bytes()


def test_a_fault_ends_a_command_in_two_lines_before_there_is_a_run(hub, tmp_path):
    hub.faults[SD15, UNET] = Fault("flipped")
    run = tmp_path / "run"
    ending = confiner("generate", "prompt=a heart", "experts=lavie_sd", *SMALL, f"output.dir={run}")
    assert ending.code == 2 and "does not have the hash" in ending.err, ending.err
    assert [line.partition(":")[0] for line in ending.err.splitlines()[-2:]] == ["error", "hint"]
    assert "Traceback" not in ending.err and not run.exists()


@pytest.mark.parametrize("kind", ["busy", "cut", "reset", "short", "busy listing"])
def test_what_passes_is_waited_for(kind, hub):
    hub.faults[SD15, None if "listing" in kind else UNET] = Fault(kind.split()[0], times=1)
    assert (fetch(requirement()) / UNET).exists()


def test_an_unknown_revision_and_an_unknown_file_are_named(hub):
    with pytest.raises(ConfinerError, match="no revision v9"):
        hub_listing.missing(requirement(f"{SD15}@v9"))
    with pytest.raises(ConfinerError, match=r"has no file other\.pt"):
        hub_listing.missing(requirement(f"{LAVIE}:other.pt"))


def test_a_repository_without_safetensors_or_with_a_missing_shard_is_refused_before_it_is_fetched(
    hub, tmp_path
):
    names = {"config.json", "diffusion_pytorch_model.bin"}
    shards = {
        "config.json",
        "diffusion_pytorch_model.safetensors.index.json",
        "diffusion_pytorch_model-00001-of-00002.safetensors",
    }
    for listing in (names, shards):
        with pytest.raises(ConfinerError, match="no whole safetensors weights"):
            hub_listing._chosen(Requirement(model_ref("a/b"), ()), listing)
    whole = shards | {"diffusion_pytorch_model-00002-of-00002.safetensors"}
    assert hub_listing._chosen(Requirement(model_ref("a/b"), ()), whole) == whole
    assert hub_listing._chosen(Requirement(model_ref("a/b"), (), pickles=True), names) == names


def test_no_network_at_all_is_said_with_its_cure(hub, monkeypatch):
    def no_way(*_):
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(socket.socket, "connect", no_way)
    with pytest.raises(ConfinerError, match="cannot be fetched") as caught:
        hub_listing.missing(requirement())
    assert "is there a network" in caught.value.hint


def test_offline_nothing_is_asked_and_the_command_that_fetches_is_named(hub, monkeypatch):
    forbid_sockets(monkeypatch)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ConfinerError, match="HF_HUB_OFFLINE") as caught:
        hub_listing.missing(requirement())
    assert "confiner experts download" in caught.value.hint


def test_a_file_damaged_in_the_cache_is_found_by_check_and_removed(hub):
    path = fetch(requirement()) / UNET
    blob = path.resolve()
    content = bytearray(blob.read_bytes())
    content[len(content) // 2] ^= 1
    blob.write_bytes(content)
    with pytest.raises(ConfinerError, match="does not have the hash"):
        verify_file(path)
    assert not path.exists() and not blob.exists()
    assert (fetch(requirement()) / UNET).exists()


@pytest.fixture
def zeroscope(repositories, tmp_path) -> Path:
    """The repositories with ZeroScope's among them, which holds pickles only."""
    root = Path(shutil.copytree(repositories, tmp_path / "hub"))
    folder = root / ZEROSCOPE
    published.modelscope(folder, fp16=False)
    for path in folder.rglob("*.safetensors"):
        name = path.name.replace("model.safetensors", "pytorch_model.bin").replace(
            "diffusion_pytorch_pyt", "diffusion_pyt"
        )
        torch.save(load_file(path), path.with_name(name))
        path.unlink()
    return root


@pytest.mark.thorough
@pytest.mark.filterwarnings(
    "ignore:unclosed file <_io.Buffered:ResourceWarning"
)  # imageio-ffmpeg's pipes
def test_pickles_are_taken_where_a_config_allows_them_and_there_is_nothing_else(
    zeroscope, tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("sys.argv", ["confiner"])
    words = ("generate", "prompt=a heart", "experts=zeroscope_sd", *SMALL)
    with StandInHub(zeroscope) as hub, in_process(hub, tmp_path / "home"):
        hub.commits.update(PINNED)
        refused = confiner(
            *words, "experts.temporal.pickles=false", f"output.dir={tmp_path / 'one'}"
        )
        assert refused.code == 2 and "no whole safetensors weights in text_encoder/" in refused.err
        done = confiner(*words, f"output.dir={tmp_path / 'two'}")
        assert done.code == 0, done.err
        assert not [name for name in hub.fetched(SD15) if name.endswith(".bin")]


class Malicious:
    """A pickle that would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("content", ["code", "page"])
def test_what_a_repository_should_not_hold_is_refused_and_not_run(
    content, repositories, tmp_path, monkeypatch
):
    root = Path(shutil.copytree(repositories, tmp_path / "hub"))
    if content == "code":
        torch.save({"ema": Malicious(tmp_path / "made")}, root / LAVIE / "lavie_base.pt")
    else:
        (root / LIGHTNING / "animatediff_lightning_4step_diffusers.safetensors").write_bytes(PAGE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with StandInHub(root) as hub, in_process(hub, tmp_path / "home"):
        hub.commits.update(PINNED)
        words = (
            "generate",
            "prompt=a heart",
            "experts=lavie_sd",
            *SMALL,
            f"output.dir={tmp_path / 'run'}",
        )
        ending = confiner(*words)
    assert (
        ending.code == 2
        and ("holds more than tensors" if content == "code" else "a web page") in ending.err
    )
    assert "lavie_base.pt" in ending.err if content == "code" else "4step" in ending.err
    assert not (tmp_path / "made").exists()


def test_a_download_of_what_is_left_counts_what_is_left(hub):
    fetch(requirement(components=("unet",)))
    download = hub_listing.missing(requirement(components=("unet", "vae")))
    assert set(download.files) == {
        "vae/config.json",
        "vae/diffusion_pytorch_model.fp16.safetensors",
    }
    assert download.size == sum((hub.root / SD15 / name).stat().st_size for name in download.files)


@pytest.mark.parametrize(
    "lost", ["vae/config.json", "tokenizer/tokenizer_config.json", "unet/config.json"]
)
def test_a_snapshot_with_a_hole_is_not_whole_and_is_mended(lost, hub):
    path = fetch(requirement()) / lost
    path.resolve().unlink()
    path.unlink()
    assert ours.found(requirement()) is None
    assert set(hub_listing.missing(requirement()).files) == {lost}
    assert (fetch(requirement()) / lost).exists()


def test_a_damaged_index_is_found_out_and_fetched_again(hub):
    path = fetch(requirement()) / "model_index.json"
    path.resolve().write_text("{")
    with pytest.raises(ConfinerError, match="does not have the hash"):
        hub_listing.missing(requirement())
    assert fetch(requirement()).is_dir()


@pytest.mark.parametrize("name", [UNET, "unet/config.json"])
def test_where_the_cache_cannot_make_links_what_comes_is_hashed_all_the_same(
    name, hub, monkeypatch
):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_SYMLINKS", True)
    hub.faults[SD15, name] = Fault("flipped")
    with pytest.raises(ConfinerError, match="does not have the hash"):
        fetch(requirement())
    assert ours.found(requirement()) is None
    hub.faults.clear()
    assert not (fetch(requirement()) / name).is_symlink()


def test_files_that_are_not_needed_are_not_hashed(hub):
    folder = fetch(requirement())
    (folder / "v1-5-pruned.ckpt").write_bytes(b"")
    (folder / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"")
    names = {path.relative_to(folder).as_posix() for path in ours.files_of(requirement(), folder)}
    assert UNET in names and not [name for name in names if name.endswith((".ckpt", ".bin"))]


def test_a_full_disk_is_no_matter_of_the_network(hub, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    download = hub_listing.missing(requirement())
    monkeypatch.setattr(repository_download, "snapshot_download", full)
    with pytest.raises(OSError, match="No space left"):
        list(download.arriving())


def kept_of(hub: StandInHub) -> int:
    """How much there is of a file that stalls."""
    return kept_bytes(blob_folder(model_ref(SD15)) / hub.files(SD15)[UNET].etag)


def test_interrupting_a_stalled_download_ends_at_once_and_says_what_is_kept(hub, tmp_path):
    hub.faults[SD15, UNET] = Fault("stall")
    process = started(
        "experts", "download", "lavie_sd", folder=tmp_path, env=environment(hub, tmp_path / "home")
    )
    while not kept_of(hub):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    ending = ended(process)
    assert ending.code == 130
    assert "are kept; the same command goes on from there" in ending.err


@pytest.mark.thorough
def test_run_json_says_which_commit_main_was(hub, tmp_path):
    words = (
        "generate",
        "prompt=a heart",
        "experts=lavie_sd",
        *SMALL,
        f"output.dir={tmp_path / 'run'}",
    )
    assert confiner(*words).code == 0
    models = json.loads((tmp_path / "run" / "run.json").read_text())["models"]
    assert models[f"{LAVIE}:lavie_base.pt"] == hub.commit(LAVIE)
    assert set(models.values()) == {hub.commit(repo) for repo in (SD15, BASE, LIGHTNING, LAVIE)}


def test_a_download_killed_in_mid_file_leaves_nothing_that_passes_as_whole(hub, tmp_path):
    hub.faults[SD15, UNET] = Fault("stall", times=1)
    variables = environment(hub, tmp_path / "home")
    process = started("experts", "download", "lavie_sd", folder=tmp_path, env=variables)
    while not kept_of(hub):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.kill()
    process.communicate()
    assert ours.found(requirement()) is None
    hub.ranges.clear()
    assert (fetch(requirement()) / UNET).read_bytes() == (hub.root / SD15 / UNET).read_bytes()
    assert hub.ranges, "it went on from what was there"
    assert not list((tmp_path / "home").rglob("*.incomplete"))


def test_a_download_that_nobody_waits_for_ends_with_the_next_piece():
    ended = threading.Event()

    def endless(bars, go_on):
        bar = bars(unit="B")
        try:
            while True:
                bar.update(3)
                time.sleep(0.001)
        except StoppedError:
            ended.set()
            raise

    stream = stream_download(endless)
    assert [next(stream), next(stream)] == [3, 3]
    assert not ended.is_set()
    stream.close()
    assert ended.wait(timeout=10)


@pytest.mark.parametrize("chosen", [True, False])
def test_a_download_takes_no_xet_and_leaves_the_choice_as_it_was(chosen, hub, monkeypatch):
    name, seen = "huggingface_hub.constants.HF_HUB_DISABLE_XET", []
    real = repository_download.snapshot_download

    def watched(*arguments, **options):
        seen.append(constants.HF_HUB_DISABLE_XET)
        return real(*arguments, **options)

    monkeypatch.setattr(name, chosen)
    monkeypatch.setattr(repository_download, "snapshot_download", watched)
    fetch(requirement(components=("vae",)))
    assert seen == [True] and constants.HF_HUB_DISABLE_XET is chosen


@pytest.mark.thorough
def test_a_preview_decoder_is_fetched_where_one_is_wanted_and_checked_with_its_set(hub):
    assert confiner("experts", "download", "lavie_sd").code == 0
    assert hub.fetched(TAESD) == set()
    wanted = ("lavie_sd", "output.structure=preview")
    assert f"missing  {TAESD}@" in confiner("plan", "experts=lavie_sd", wanted[1]).out
    assert confiner("experts", "download", *wanted).code == 0
    assert hub.fetched(TAESD) == {"config.json", "diffusion_pytorch_model.safetensors"}
    assert "missing" not in confiner("plan", "experts=lavie_sd", wanted[1]).out
    checked = confiner("experts", "check", *wanted)
    assert checked.code == 0, checked.err
    assert "preview: decodes to 64x64 pixels" in checked.out


def test_a_file_named_in_a_repository_is_fetched_with_its_config_and_nothing_else(hub):
    name = "unet/diffusion_pytorch_model.safetensors"
    path = fetch(requirement(f"{BASE}:{name}", ()))
    assert path.read_bytes() == (hub.root / BASE / name).read_bytes()
    assert hub.fetched(BASE) == {name, "unet/config.json"}


def test_too_small_a_disk_is_said_before_anything_is_fetched(hub, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1))
    ending = confiner(
        "generate", "prompt=a heart", "experts=lavie_sd", *SMALL, f"output.dir={tmp_path / 'run'}"
    )
    assert ending.code == 2 and "the disk is too small" in ending.err
    assert not hub.fetched(SD15)


def spoiled(path: Path, damage: str) -> None:
    tensors = load_file(path)
    key = next(iter(tensors))
    match damage:
        case "a missing key":
            del tensors[key]
        case "an extra key":
            tensors["another"] = torch.zeros(1)
        case "another shape":
            tensors[key] = torch.zeros(1)
    save_file(tensors, path, metadata={"format": "pt"})


@pytest.mark.thorough
@pytest.mark.parametrize("damage", ["a missing key", "an extra key", "another shape"])
@pytest.mark.parametrize("role", ["spatial", "control"])
def test_weights_that_are_not_the_networks_are_named_with_role_and_file(
    damage, role, hub, repositories, tmp_path
):
    folder = Path(shutil.copytree(repositories / SD15, tmp_path / "sd"))
    spoiled(folder / UNET, damage)
    words = (
        "generate",
        "prompt=a heart",
        "experts=lavie_sd",
        *SMALL,
        f"experts.{role}.model={folder}",
    )
    ending = confiner(*words, f"output.dir={tmp_path / 'run'}")
    assert ending.code == 2 and f"the {role} expert's unet in {folder}" in ending.err, ending.err


@pytest.mark.thorough
def test_a_pipeline_folder_with_another_schedule_is_refused_but_for_experts_it_says_nothing_about(
    hub, repositories, tmp_path
):
    folder = Path(shutil.copytree(repositories / SD15, tmp_path / "sd"))
    path = folder / "scheduler" / "scheduler_config.json"
    stated = json.loads(path.read_text())
    path.write_text(json.dumps({**stated, "prediction_type": "v_prediction"}))
    words = ("generate", "prompt=a heart", "experts=lavie_sd", *SMALL)
    refused = confiner(*words, f"experts.spatial.model={folder}", f"output.dir={tmp_path / 'one'}")
    assert refused.code == 2 and "experts.spatial.prediction_type=epsilon, but" in refused.err
    fine = confiner(*words, f"experts.control.model={folder}", f"output.dir={tmp_path / 'two'}")
    assert fine.code == 0, fine.err


@pytest.mark.parametrize("steps", [3, 5, 16])
def test_lightning_takes_its_own_numbers_of_steps_only(steps, hub, tmp_path):
    words = (
        "generate",
        "prompt=a heart",
        "experts=lavie_sd",
        f"scheduler.structure.num_inference_steps={steps}",
    )
    ending = confiner(*words)
    assert ending.code == 2 and "was distilled for 1, 2, 4, 8 steps only" in ending.err
    assert not hub.requests


@pytest.mark.thorough
def test_confiner_18_takes_the_file_for_8_steps(hub, tmp_path):
    words = ("generate", "prompt=a heart", "experts=lavie_sd", *SMALL, "scheduler=confiner_18")
    assert confiner(*words, f"output.dir={tmp_path / 'run'}").code == 0
    assert "animatediff_lightning_8step_diffusers.safetensors" in hub.fetched(LIGHTNING)
    recorded = json.loads((tmp_path / "run" / "run.json").read_text())["config"]["experts"][
        "control"
    ]
    assert "{steps}" in recorded["motion_adapter"]


@pytest.mark.thorough
def test_experts_lists_downloads_checks_and_converts(hub, tmp_path):
    assert f"{LAVIE}:lavie_base.pt: missing" in confiner("experts").out
    done = confiner("experts", "download", "lavie_sd")
    assert done.code == 0 and all(Path(line).exists() for line in done.out.splitlines())
    assert "missing" not in confiner("experts").out.partition("modelscope_sd")[0]
    checked = confiner("experts", "check", "lavie_sd")
    assert checked.code == 0 and checked.out.count("an answer at t=500 is finite") == 3, checked.err
    converted = confiner("experts", "convert", f"{LAVIE}:lavie_base.pt")
    assert converted.code == 0 and converted.out.endswith("lavie_base.safetensors\n")
    assert "lavie_base.safetensors" in confiner("experts", "check", "lavie_sd").out
    pickle = ours.cached(requirement(f"{LAVIE}:lavie_base.pt", ())).resolve()
    for line in done.out.splitlines():
        if line.endswith("lavie_base.pt"):
            Path(line).unlink()
    pickle.unlink()
    place = ours.cached(requirement(f"{LAVIE}:lavie_base.pt", ()))
    assert place.name == "lavie_base.safetensors"
    listed = confiner("experts").out.partition("modelscope_sd")[0]
    assert f"{LAVIE}:lavie_base.pt: {place}" in listed and "missing" not in listed
    assert str(place) in confiner("experts", "download", "lavie_sd").out
    assert "missing" not in confiner("plan", "experts=lavie_sd").out
    assert confiner("experts", "check", "lavie_sd").code == 0
