"""What structure.mp4 is decoded by is a choice that changes nothing of the video."""

import json
import math

import pytest
import torch
from PIL import Image
from support import tiny_networks
from support.command_line import PROMPT, QUICK, confiner, facts_of, generate

from confiner_cli.config.resolve import resolve
from confiner_cli.experts import picture_vae
from confiner_cli.experts.compiling import MODES
from confiner_cli.experts.loading import load_decoder, load_preview
from confiner_cli.experts.offload import POLICIES, NetworkCache
from confiner_cli.media.video import read_video
from confiner_cli.method.long.timeline import Timeline
from confiner_cli.runs.provenance import settings_of_words
from confiner_cli.runs.tasks import Kind, Task, TaskGraph

CPU, FLOAT = torch.device("cpu"), torch.float32
WORDS = (PROMPT, "seed=7", *QUICK)


@pytest.fixture
def decoded(monkeypatch):
    """How many frames each kind of decoder has decoded."""
    counts, plain = {}, picture_vae._decode

    def count(network, latents):
        kind = type(network).__name__
        counts[kind] = counts.get(kind, 0) + len(latents)
        return plain(network, latents)

    monkeypatch.setattr(picture_vae, "_decode", count)
    return counts


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    return generate(*WORDS, f"output.dir={tmp_path_factory.mktemp('full') / 'run'}").folder


@pytest.fixture
def run(tmp_path, decoded):
    """Make the same video with another structure.mp4."""
    return lambda *words: generate(*WORDS, *words, f"output.dir={tmp_path / 'run'}").folder


def rows_of(folder):
    """How many rows of pictures of 128 pixels the contact sheet has."""
    with Image.open(folder / "contact_sheet.png") as sheet:
        return sheet.height // 128


def psnr(one, other):
    error = (one.float() - other.float()).square().mean().item()
    return 10 * math.log10(255**2 / error)


def test_without_a_structure_nothing_of_it_is_decoded_and_the_video_is_the_same(run, full, decoded):
    folder = run("output.structure=false")
    assert decoded == {"AutoencoderKL": 4}
    assert set(facts_of(folder)["files"]) == {"video.mp4", "contact_sheet.png"}
    assert (rows_of(folder), rows_of(full)) == (1, 2)
    assert torch.equal(read_video(folder / "video.mp4"), read_video(full / "video.mp4"))
    again = confiner("resume", str(folder))  # as it is recorded
    assert again.code == 0 and "already done" in again.err


def test_a_preview_is_near_the_structure_and_the_video_is_the_same(run, full, decoded):
    folder = run("output.structure=preview")
    assert decoded == {"AutoencoderKL": 4, "LatentPreview": 4}
    assert rows_of(folder) == 2
    frames, exact = (read_video(each / "structure.mp4") for each in (folder, full))
    assert frames.shape == exact.shape
    assert 20 < psnr(frames, exact) < 60
    assert torch.equal(read_video(folder / "video.mp4"), read_video(full / "video.mp4"))
    weights = [facts_of(each)["weights"]["spatial"] for each in (folder, full)]
    assert ["preview" in each for each in weights] == [True, False]


def loaded_preview(folder):
    spec = settings_of_words([PROMPT, f"experts.spatial.preview={folder}"]).experts.spatial
    with NetworkCache() as cache:
        decoder = load_preview("spatial", spec, CPU, FLOAT, POLICIES["high"], cache)
        return torch.stack(list(decoder(LATENTS)))


LATENTS = torch.randn(1, 4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def test_an_autoencoder_tiny_decodes_as_it_does_in_diffusers(tmp_path):
    network = tiny_networks.preview()
    network.save_pretrained(tmp_path)
    with torch.no_grad():
        pixels = network.decode(LATENTS[0].transpose(0, 1)).sample
    expected = ((pixels / 2 + 0.5).clamp(0, 1) * 255).round().permute(0, 2, 3, 1)
    assert (loaded_preview(tmp_path) - expected).abs().max() <= 1


def test_loras_of_the_spatial_expert_change_nothing_of_it(tmp_path):
    tiny_networks.preview().save_pretrained(tmp_path / "preview")
    word = f"experts.spatial.preview={tmp_path / 'preview'}"
    lora = tmp_path / "lora.safetensors"
    lora.touch()
    with_lora = f"experts.spatial.loras=[{{path:{lora},scale:1}}]"
    keys = []
    for words in ([word], [word, with_lora]):
        spec = settings_of_words([PROMPT, *words]).experts.spatial
        with NetworkCache() as cache:
            keys.append(load_preview("spatial", spec, CPU, FLOAT, POLICIES["high"], cache).vae.key)
    assert keys[0] == keys[1]


@pytest.mark.parametrize("compiling", MODES)
def test_without_a_preview_the_vae_decodes_structures(compiling):
    spec = settings_of_words([PROMPT, "experts.spatial.preview=null"]).experts.spatial
    with NetworkCache() as cache:
        arguments = ("spatial", spec, CPU, FLOAT, POLICIES["high"], cache)
        preview = load_preview(*arguments, compiling)
        assert preview.vae.key == load_decoder(*arguments, compiling).vae.key


def other_factor(folder):
    tiny_networks.preview(4).save_pretrained(folder)


def a_vae(folder):
    tiny_networks.vae().save_pretrained(folder)


def shifted(folder):
    tiny_networks.preview().save_pretrained(folder)
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"shift_factor": 0.5}))


def no_weights(folder):
    tiny_networks.preview().save_pretrained(folder)
    (folder / "diffusion_pytorch_model.safetensors").unlink()


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (other_factor, "makes 4 pixels of a latent"),
        (a_vae, "holds a AutoencoderKL"),
        (shifted, "states shift_factor=0.5"),
        (no_weights, "preview in"),
    ],
)
def test_a_decoder_of_something_else_is_refused_before_a_run_samples(tmp_path, write, says):
    write(tmp_path / "preview")
    words = ("output.structure=preview", f"experts.spatial.preview={tmp_path / 'preview'}")
    ending = generate(*WORDS, *words, f"output.dir={tmp_path / 'run'}")
    assert ending.code == 2 and says in ending.err, ending.err
    assert not facts_of(tmp_path / "run")["evaluations"]["control"]


REFUSED = [
    (["output.structure=preview", "experts.spatial.preview=null"], "has no preview decoder"),
    (["output.structure=preview", "experts.spatial.preview=nowhere"], "there is no "),
    (["experts.control.preview=nowhere"], "experts.spatial.preview=nowhere"),
    (["output.structure=prewiev"], "did you mean preview?"),
    (["output.structure=true"], "output.structure= takes full, preview or false"),
    (["output.structure=null"], "output.structure"),
]


@pytest.mark.parametrize(("words", "says"), REFUSED)
def test_what_cannot_be_shown_is_refused_with_its_cure(folder, words, says):
    ending = generate(*WORDS, *words, "output.dir=run")
    assert ending.code == 2 and says in ending.err, ending.err
    assert len([line for line in ending.err.splitlines() if line.startswith("hint: ")]) == 1
    assert not (folder / "run").exists()


@pytest.mark.thorough
def test_a_run_is_not_gone_on_with_under_another_choice_but_is_made_again_from_its_record(
    full, tmp_path
):
    again = generate(*WORDS, "output.structure=false", f"output.dir={full}", "resume=true")
    assert again.code == 2 and "output.structure differ" in again.err
    folder = generate(
        f"from={full}", "output.structure=false", f"output.dir={tmp_path / 'b'}"
    ).folder
    assert torch.equal(read_video(folder / "video.mp4"), read_video(full / "video.mp4"))
    assert "structure.mp4" not in facts_of(folder)["files"]


def planned(*words):
    """The plan's rows of decoding, as name and frames, and all operations."""
    lines = [line.split() for line in confiner("plan", *words).out.splitlines()]
    rows = [(line[1], int(line[2])) for line in lines if line[:1] == ["decode"]]
    return rows, next(float(line[-1]) for line in lines if line[:2] == ["in", "all"])


@pytest.mark.parametrize("experts", ["tiny", "lavie_sd"])
def test_a_plan_counts_what_decoding_the_structure_costs(experts):
    named = f"experts={experts}"
    (full, most), (preview, less), (none, least) = (
        planned(named, f"output.structure={each}") for each in ("full", "preview", "false")
    )
    assert full == [("vae", 32)]
    assert preview == [("vae", 16), ("preview", 16)]
    assert none == [("vae", 16)]
    assert most > less >= least


def test_latents_of_structures_that_are_not_shown_go_with_the_windows_that_need_them():
    graph = TaskGraph(Timeline(40, 8, overlap=4), follows=False, previewed=False)
    assert {goal.kind for goal in graph.goals()} == {Kind.CHUNK}
    users = graph.users(Task(Kind.STRUCTURE, 1))
    assert users and {user.kind for user in users} == {Kind.WINDOW}


def test_what_is_not_wanted_is_not_loaded():
    for value, named in (("full", False), ("false", False), ("preview", True)):
        job = resolve(settings_of_words([PROMPT, f"output.structure={value}"]))
        assert bool(job.experts["spatial"].preview) == named
        assert job.settings.experts.spatial.preview  # what is recorded
