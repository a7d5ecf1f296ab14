"""The stand-in for the hub, asked by the real client: what a download gives, how a fault looks.

Of the client only what `confiner_cli/weights` relies on is held here: which files it fetches,
where it puts them, and which kinds of errors it raises. How long it waits, what it says and how it
retries are its own matter.
"""

from __future__ import annotations

import hashlib
import http.client
import random
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path
from urllib.error import HTTPError

import pytest
from huggingface_hub import errors, hf_hub_download, model_info, snapshot_download
from support.stand_in_hub import PAGE, Fault, StandInHub, environment, in_process

from confiner_cli.weights.hub_errors import FAILURES

REPO, WEIGHTS = "somebody/model", "unet/weights.fp16.safetensors"
FILES = {
    "README.md": b"# A model\n",
    "unet/config.json": b'{"_class_name": "UNet2DConditionModel"}\n',
    WEIGHTS: random.Random(0).randbytes(50_000),
    "unet/weights.bin": random.Random(1).randbytes(1_000),
}
UNET = ["unet/*.json", "unet/*.fp16.safetensors"]
WEIGHTS_BLOB, CONFIG_BLOB = (
    hashlib.sha256(FILES[WEIGHTS]).hexdigest(),
    "0a2325170fa81ace63f02f206e58fabc09bd3bd5",
)


@pytest.fixture
def hub(tmp_path):
    for name, content in FILES.items():
        path = tmp_path / "root" / REPO / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    with StandInHub(tmp_path / "root") as started:
        yield started


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def client(hub, home):
    """The client of this process, turned to the hub; it does not wait between its retries."""
    with in_process(hub, home):
        yield


def fetch(**options) -> Path:
    return Path(snapshot_download(REPO, **{"allow_patterns": UNET, **options}))


def names_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}


def blobs(home: Path) -> set[str]:
    return names_below(home / "hub" / "models--somebody--model" / "blobs")


def test_a_snapshot_is_the_files_asked_for_and_no_others(hub, client):
    folder = fetch()
    assert names_below(folder) == hub.fetched(REPO) == {"unet/config.json", WEIGHTS}
    assert all((folder / name).read_bytes() == FILES[name] for name in hub.fetched(REPO))


def test_the_cache_has_the_ordinary_layout_with_large_blobs_named_by_their_sha256(
    hub, home, client
):
    folder, cache, commit = fetch(), home / "hub" / "models--somebody--model", hub.commit(REPO)
    assert folder == cache / "snapshots" / commit
    assert (cache / "refs" / "main").read_text() == commit
    assert blobs(home) == {WEIGHTS_BLOB, CONFIG_BLOB}
    assert (folder / WEIGHTS).resolve() == cache / "blobs" / WEIGHTS_BLOB


def test_listings_tell_sizes_and_hashes_to_those_who_ask(client):
    plain, sized = model_info(REPO), model_info(REPO, files_metadata=True)
    assert {one.rfilename: one.size for one in plain.siblings} == dict.fromkeys(FILES)
    found = {one.rfilename: one for one in sized.siblings}
    assert all(found[name].size == len(content) for name, content in FILES.items())
    assert found[WEIGHTS].lfs.sha256 == WEIGHTS_BLOB
    assert (found["unet/config.json"].lfs, found["unet/config.json"].blob_id) == (None, CONFIG_BLOB)


def test_the_commit_is_the_contents(hub, tmp_path):
    shutil.copytree(hub.root, tmp_path / "copy")
    assert (before := hub.commit(REPO)) == StandInHub(tmp_path / "copy").commit(REPO)
    (hub.root / REPO / "README.md").write_bytes(b"# Another\n")
    assert hub.commit(REPO) != before


ENDS = {
    "absent": (None, Fault("absent"), errors.RepositoryNotFoundError),
    "gated": (None, Fault("gated"), errors.GatedRepoError),
    "busy listing": (None, Fault("busy"), FAILURES),
    "busy HEAD": (WEIGHTS, Fault("busy"), FAILURES),
    "busy GET": (WEIGHTS, Fault("busy", method="GET"), FAILURES),
    "cut": (WEIGHTS, Fault("cut"), FAILURES),
    "reset": (WEIGHTS, Fault("reset"), FAILURES),
    "short": (WEIGHTS, Fault("short"), FAILURES),
}
"""What is at fault, the fault, and what kinds of errors the client may end with."""


@pytest.mark.parametrize("case", ENDS)
def test_a_fault_that_does_not_pass_ends_the_download_and_leaves_nothing_of_the_file(
    case, hub, home, client
):
    name, fault, kinds = ENDS[case]
    hub.faults[REPO, name] = fault
    with pytest.raises(kinds):
        fetch()
    assert blobs(home) <= {CONFIG_BLOB}


def test_a_page_that_the_repository_holds_under_a_files_name_is_the_file(hub, home, client):
    (hub.root / REPO / WEIGHTS).write_bytes(PAGE)
    assert (fetch() / WEIGHTS).read_bytes() == PAGE
    assert blobs(home) == {hashlib.sha256(PAGE).hexdigest(), CONFIG_BLOB}


def test_a_file_that_is_missing_is_missed_by_name_but_not_by_pattern(hub, home, client):
    hub.faults[REPO, WEIGHTS] = Fault("missing")
    assert names_below(fetch()) == {"unet/config.json"}
    with pytest.raises(errors.RemoteEntryNotFoundError):
        hf_hub_download(REPO, WEIGHTS)


def test_where_no_file_matches_a_snapshot_is_the_name_of_no_folder(client):
    assert not fetch(allow_patterns=["nothing"]).exists()


def test_a_token_opens_what_is_gated(hub, client):
    hub.faults[REPO, None] = Fault("gated")
    assert (fetch(token="hf_anything") / WEIGHTS).is_file()


def test_other_names_are_unknown(client):
    with pytest.raises(errors.RepositoryNotFoundError):
        snapshot_download("somebody/else")
    for revision in ("fp16", "refs/pr/1", "0" * 40):
        with pytest.raises(errors.RevisionNotFoundError):
            fetch(revision=revision)


def test_a_part_of_a_file_is_that_part_and_none_where_it_has_none(hub):
    address = f"{hub.url}/{REPO}/resolve/main/{WEIGHTS}"
    for wanted, first, last in (("bytes=10-19", 10, 19), ("bytes=49990-", 49_990, 49_999)):
        with urllib.request.urlopen(
            urllib.request.Request(address, headers={"Range": wanted})
        ) as answer:
            assert (answer.status, answer.headers["Content-Range"]) == (
                206,
                f"bytes {first}-{last}/50000",
            )
            assert answer.read() == FILES[WEIGHTS][first : last + 1]
    with pytest.raises(HTTPError, match="416") as caught:
        urllib.request.urlopen(urllib.request.Request(address, headers={"Range": "bytes=50000-"}))
    caught.value.close()


def test_a_stalled_file_stays_at_half_until_its_reader_goes(hub):
    hub.faults[REPO, WEIGHTS] = Fault("stall")
    connection = http.client.HTTPConnection(hub.url.removeprefix("http://"), timeout=60)
    connection.connect()
    wire = connection.sock
    connection.request("GET", f"/{REPO}/resolve/main/{WEIGHTS}")
    with connection.getresponse() as answer:
        assert answer.read(25_000) == FILES[WEIGHTS][:25_000]
        wire.settimeout(0.2)
        with pytest.raises(TimeoutError):
            answer.read(1)
    connection.close()


def test_another_process_finds_the_hub_in_its_environment_and_warns_of_nothing(hub, home):
    program = f"from huggingface_hub import snapshot_download; print(snapshot_download({REPO!r}))"
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", program]
    ended = subprocess.run(
        command, env=environment(hub, home), capture_output=True, text=True, check=True
    )
    assert Path(ended.stdout.strip()).is_relative_to(home) and "Warning" not in ended.stderr
    assert hub.fetched(REPO) == set(FILES)


PUBLISHED = ("stable_diffusion", "modelscope", "animatediff_lightning", "motion_adapter", "lavie")
UNETS = {"stable_diffusion": "UNet2DConditionModel", "modelscope": "UNet3DConditionModel"}
WANTED = [
    "unet/config.json",
    "vae/config.json",
    "text_encoder/config.json",
    "tokenizer/*",
    "scheduler/*",
]
WANTED += [f"{part}/*.fp16.safetensors" for part in ("unet", "vae", "text_encoder")]


@pytest.fixture(scope="module")
def published_root(tmp_path_factory):
    """The repositories `we/NAME` of everything that `published` writes."""
    from support import published

    root = tmp_path_factory.mktemp("published")
    for name in PUBLISHED:
        getattr(published, name)(root / "we" / name)
    return root


@pytest.mark.parametrize("name", UNETS)
def test_a_published_pipeline_is_fetched_in_half_precision_and_loads(name, published_root, home):
    import diffusers
    from support.published import UNWANTED
    from transformers import CLIPTextModel, CLIPTokenizer

    with StandInHub(published_root) as hub, in_process(hub, home):
        folder = Path(snapshot_download(f"we/{name}", allow_patterns=WANTED))
    assert UNWANTED not in [(folder / path).read_bytes() for path in names_below(folder)]
    kinds = {
        "unet": getattr(diffusers, UNETS[name]),
        "vae": diffusers.AutoencoderKL,
        "text_encoder": CLIPTextModel,
    }
    for part, kind in kinds.items():
        how = {"use_safetensors": True, "local_files_only": True, "output_loading_info": True}
        half, about = kind.from_pretrained(folder / part, variant="fp16", **how)
        whole, _ = kind.from_pretrained(published_root / "we" / name / part, **how)
        assert not any(about.values())
        halves = half.state_dict()
        assert all(
            value.half().equal(halves[key].half()) for key, value in whole.state_dict().items()
        )
    assert CLIPTokenizer.from_pretrained(folder / "tokenizer").tokenize("heart") == [
        "he",
        "art</w>",
    ]


def test_published_motion_fits_the_published_unet(published_root):
    from diffusers import MotionAdapter, UNet2DConditionModel, UNetMotionModel
    from safetensors.torch import load_file
    from support import published

    unet = UNet2DConditionModel.from_config(published.UNET_2D)
    adapter = MotionAdapter.from_pretrained(
        published_root / "we" / "motion_adapter", variant="fp16"
    )
    for path in sorted(
        (published_root / "we" / "animatediff_lightning").glob("*_diffusers.safetensors")
    ):
        adapter.load_state_dict(load_file(path))
        assert UNetMotionModel.from_unet2d(unet, adapter).config.motion_max_seq_length == 32


def test_published_lavie_is_a_pickle_with_one_rotary_table_under_many_names(published_root):
    import torch

    tensors = torch.load(published_root / "we" / "lavie" / "lavie_base.pt", weights_only=True)[
        "ema"
    ]
    tables = [value for key, value in tensors.items() if key.endswith("rotary_emb.freqs")]
    assert len(tables) > 1 and len({table.data_ptr() for table in tables}) == 1


@pytest.mark.parametrize("name", PUBLISHED)
def test_what_is_published_is_the_same_every_time_with_or_without_half_precision(
    name, published_root, tmp_path
):
    from support import published

    getattr(published, name)(tmp_path / "we" / name)
    again, first = StandInHub(tmp_path), StandInHub(published_root)
    assert again.commit(f"we/{name}") == first.commit(f"we/{name}")
    if name in UNETS:
        getattr(published, name)(tmp_path / "we" / "whole", fp16=False)
        missing = first.files(f"we/{name}").keys() - again.files("we/whole").keys()
        assert missing and all(".fp16." in path for path in missing)
