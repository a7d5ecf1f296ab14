"""The set `wan` from the hub: its parts lie in three repositories, in files of 32 and 16 bits."""

from __future__ import annotations

import pytest
from support.command_line import confiner, facts_of
from support.published import FASTWAN, UNWANTED, WAN, WAN_5B
from support.stand_in_hub import forbid_sockets

WORDS = (
    "experts=wan",
    "height=16",
    "width=32",
    "num_frames=5",
    "seed=1",
    "scheduler.refinement.num_inference_steps=2",
)
NEEDED = {
    FASTWAN: ("transformer", "scheduler"),
    WAN: ("transformer", "vae", "scheduler"),
    WAN_5B: ("text_encoder", "tokenizer"),
}
"""Components that are fetched; of each repository its index beside them."""


def folders(names):
    """The folders that files of a repository are in; "" is the repository itself."""
    return {name.rpartition("/")[0] for name in names}


@pytest.mark.filterwarnings(
    "ignore:unclosed file <_io.Buffered:ResourceWarning"
)  # imageio-ffmpeg's pipes
def test_it_makes_a_video_of_what_it_needs_and_the_next_one_without_a_socket(
    hub, tmp_path, monkeypatch
):
    words = ("generate", "prompt=a heart", *WORDS)
    first = confiner(*words, f"output.dir={tmp_path / 'one'}")
    assert first.code == 0, first.err
    assert "downloading" in first.err and "Apache-2.0" in first.err
    facts = facts_of(tmp_path / "one")
    assert facts["status"] == "done"
    assert facts["evaluations"] == {"control": 3, "spatial": 0, "temporal": 2}
    assert facts["passes"] == {"control": 3, "spatial": 0, "temporal": 4}
    assert facts["models"] == {repo: hub.commit(repo) for repo in NEEDED}
    for repo, components in NEEDED.items():
        fetched = hub.fetched(repo)
        assert folders(fetched) == {"", *components}
        assert all((hub.root / repo / name).read_bytes() != UNWANTED for name in fetched)
        shards = {path.name for path in (hub.root / repo / components[0]).iterdir()}
        assert len(shards) > 3 and {f"{components[0]}/{name}" for name in shards} <= fetched
    seen = len(hub.requests)
    forbid_sockets(monkeypatch)
    assert confiner(*words, f"output.dir={tmp_path / 'two'}").code == 0
    assert len(hub.requests) == seen
    one, two = (tmp_path / name / "video.mp4" for name in ("one", "two"))
    assert one.stat().st_size == two.stat().st_size > 500


@pytest.mark.thorough
def test_it_is_listed_planned_fetched_and_checked(hub):
    listed, planned = of_wan(confiner("experts").out), confiner("plan", "experts=wan")
    assert planned.code == 0, planned.err
    for repo in NEEDED:
        assert f"{repo}: missing" in listed and f"missing  {repo}" in planned.out
    done = confiner("experts", "download", "wan")
    assert done.code == 0 and len(done.out.splitlines()) == len(NEEDED), done.err
    assert "missing" not in of_wan(confiner("experts").out)
    assert "missing" not in confiner("plan", "experts=wan").out
    checked = confiner("experts", "check", "wan")
    assert checked.code == 0, checked.err
    assert checked.out.count("an answer at t=500 is finite") == 2
    assert "temporal  vae: decodes to 64x64 pixels" in checked.out


def of_wan(listing):
    """What `confiner experts` says of the set."""
    return listing.partition("\nwan ")[2].partition("\nzeroscope_sd ")[0]
