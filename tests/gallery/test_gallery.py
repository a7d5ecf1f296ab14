"""The gallery's page: all runs, true links, text that stays text, no file of others replaced."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit

import pytest
from support.command_line import confiner
from support.gallery_runs import hostile_prompts, write_run

from confiner_cli.gallery import page
from confiner_cli.gallery.axes import axes_of
from confiner_cli.gallery.cards import card_of
from confiner_cli.gallery.runs import find_runs
from confiner_cli.runs.lock import locked


class Page(HTMLParser):
    """What a browser without JavaScript makes of the page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.texts: dict[str, list[str]] = {}
        self.open: list[tuple[str, str]] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        name = dict(attrs).get("class") or dict(attrs).get("id") or tag
        self.texts.setdefault(name, []).append("")
        if tag not in ("meta", "img", "input", "br", "wbr"):
            self.open.append((tag, name))

    def handle_endtag(self, tag):
        assert self.open[-1][0] == tag
        self.open.pop()

    def handle_data(self, data):
        for name in {name for _, name in self.open}:
            self.texts[name][-1] += data

    @property
    def links(self) -> list[str]:
        return [
            value
            for _, attrs in self.elements
            for key, value in attrs.items()
            if key in ("href", "src")
        ]

    @property
    def data(self) -> dict:
        return json.loads(self.texts["data"][0])


def gallery(*arguments: object) -> Path:
    ending = confiner("gallery", *map(str, arguments))
    assert ending.code == 0, ending.err
    return Path(ending.out.removesuffix("\n"))


def test_runs_sweeps_and_whole_folders_are_found_once_each_in_a_person_s_order(tmp_path):
    for name in ("10-b", "2-a", "1-c"):
        write_run(tmp_path / "multirun" / name)
    write_run(tmp_path / "outputs" / "alone")
    write_run(tmp_path / "outputs" / ".hidden" / "run")
    (tmp_path / "outputs" / "loop").symlink_to(tmp_path)
    (tmp_path / "outputs" / "again").symlink_to(tmp_path / "outputs" / "alone")
    (tmp_path / "outputs" / "pipe").mkdir()
    os.mkfifo(tmp_path / "outputs" / "pipe" / "run.json")
    found = find_runs([tmp_path, tmp_path / "multirun", tmp_path / "multirun" / "2-a"])
    assert [run.folder.name for run in found] == ["1-c", "2-a", "10-b", "again", "pipe"]
    assert Counter(run.status for run in found) == {"done": 4, "damaged": 1}


def test_a_card_says_prompt_seed_overrides_cost_and_status(tmp_path):
    write_run(
        tmp_path / "run",
        overrides=("prompt=x", "seed=1", "scheduler.refinement.te=50", "+experts/spatial=other"),
    )
    shown = Page(gallery(tmp_path))
    assert shown.texts["prompt"] == ["a red heart"]
    assert shown.texts["cost"] == ["seed 12.5 s29 passes"]
    assert shown.texts["overrides"] == ["\nscheduler.refinement.te=50\nexperts/spatial=other\n"]
    (video,) = (attrs for tag, attrs in shown.elements if tag == "video")
    assert (
        video.keys() >= {"controls", "muted", "loop", "playsinline"} and video["preload"] == "none"
    )
    assert "control 4, spatial 10, temporal 5" in shown.texts["dl"][0]


@pytest.mark.parametrize(
    ("status", "facts", "shown"),
    [
        (
            "failed",
            {"error": "no <room> left", "hint": "free some"},
            "error: no <room> lefthint: free some",
        ),
        ("interrupted", {}, None),
        ("odd", {"seconds": 3, "passes": ["x"], "config": {"height": "tall", "fps": 1e400}}, None),
    ],
)
def test_a_run_that_is_not_done_is_shown_with_its_status_and_error(tmp_path, status, facts, shown):
    write_run(tmp_path / "run", files=(), status=status, **facts)
    read = Page(gallery(tmp_path))
    assert read.texts["status"] == [status]
    assert read.texts.get("error", [None])[0] == shown
    assert read.texts["only"] == ["no video"]


def test_the_result_is_the_file_of_the_format_that_the_record_says(tmp_path):
    for number, (chosen, name) in enumerate(
        [("gif", "video.gif"), ("webm", "video.webm"), ("../x", "video.mp4"), (None, "video.mp4")]
    ):
        files = (name, "structure.mp4")
        write_run(tmp_path / str(number), files, config={"output": {"format": chosen}})
    read = Page(gallery(tmp_path))
    opened = [attrs for tag, attrs in read.elements if attrs.get("class", "").startswith("open")]
    results = ["0/video.gif", "1/video.webm", "2/video.mp4", "3/video.mp4"]
    assert [attrs["href"] for attrs in opened] == [f"./{result}" for result in results]
    assert ["moves" in attrs["class"] for attrs in opened] == [True, False, False, False]
    pictures = [attrs["src"] for tag, attrs in read.elements if tag == "img"]
    videos = [attrs["src"] for tag, attrs in read.elements if tag == "video"]
    assert (pictures, videos) == (["./0/video.gif"], [f"./{result}" for result in results[1:]])
    assert "only" not in read.texts


def test_a_run_that_says_running_is_running_only_while_a_process_has_it(tmp_path):
    folder = write_run(tmp_path / "run", files=("structure.mp4",), status="running")
    with locked(folder):
        assert Page(gallery(tmp_path)).texts["status"] == ["running"]
    shown = Page(gallery(tmp_path))
    assert shown.texts["status"] == ["unfinished"]
    assert shown.texts["only"] == ["structure only"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[1]",
        "null",
        '{"prompt": {}}',
        "[" * 100_000,
        '{"seed": ' + "9" * 5_000 + "}",
        "\x00",
        '{"config": 3}',
    ],
    ids=lambda text: text[:12],
)
def test_a_damaged_record_is_shown_as_damaged_beside_the_others(tmp_path, text):
    write_run(tmp_path / "good")
    write_run(tmp_path / "bad")
    (tmp_path / "bad" / "run.json").write_text(text, encoding="utf-8")
    (tmp_path / "bad" / "contact_sheet.png").write_bytes(b"\x89PNG")
    shown = Page(gallery(tmp_path))
    assert len(shown.texts["prompt"]) == 2
    assert shown.texts["status"] == ["damaged"]
    assert str(tmp_path) not in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_hostile_prompts_are_text_and_nothing_else(tmp_path):
    prompts = hostile_prompts()
    assert len(set(prompts)) == 200
    for number, prompt in enumerate(prompts):
        overrides = (f"negative_prompt={prompt}",) if prompt.isprintable() else ()
        write_run(
            tmp_path / "hostile" / f"{number}-x",
            prompt=prompt,
            seed=prompt,
            error=prompt,
            overrides=overrides,
        )
        write_run(
            tmp_path / "tame" / f"{number}-x",
            prompt="x",
            seed="x",
            error="x",
            overrides=overrides and ("a=x",),
        )
    hostile, tame = (Page(gallery(tmp_path / name)) for name in ("hostile", "tame"))
    assert [tag for tag, _ in hostile.elements] == [tag for tag, _ in tame.elements]
    assert [attrs.keys() for _, attrs in hostile.elements] == [
        attrs.keys() for _, attrs in tame.elements
    ]
    expected = [
        prompt.encode("utf-8", "replace").decode().replace("\r\n", "\n").replace("\r", "\n")
        for prompt in prompts
    ]
    assert [text.replace("\r\n", "\n") for text in hostile.texts["prompt"]] == expected
    text = (tmp_path / "hostile" / "index.html").read_text(encoding="utf-8")
    block = re.search(r'<script id="data" type="application/json">(.*?)</script>', text, re.DOTALL)
    assert block and not set(block[1]) & set("<>&\u2028\u2029") and block[1].isascii()


@pytest.mark.parametrize(
    "name",
    ["a b", "50%", "#1", "what?", "it's", '"so"', "a:b", "é", "日本", "a\nb", "&amp;", b"\xff"],
)
def test_links_are_relative_and_lead_to_the_files_wherever_the_folder_goes(tmp_path, name):
    folder = tmp_path / "all" / (os.fsdecode(name))
    write_run(folder / "run")
    gallery(tmp_path / "all")
    moved = (tmp_path / "all").rename(tmp_path / "moved")
    links = [link for link in Page(moved / "index.html").links if not link.startswith("data:")]
    assert len(links) == 7
    for link in links:
        parts = urlsplit(link)
        assert (parts.scheme, parts.netloc, parts.query, parts.fragment) == ("", "", "", "")
        assert (moved / os.fsdecode(unquote_to_bytes(parts.path))).is_file()


def test_the_page_names_no_place_outside_its_folder(tmp_path):
    write_run(tmp_path / "all" / "run")
    text = gallery(tmp_path / "all").read_text(encoding="utf-8")
    assert str(tmp_path) not in text
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)


@pytest.mark.parametrize(
    ("arguments", "place"),
    [
        (["a"], "a/index.html"),
        (["a/1"], "a/1/index.html"),
        (["a/1/video.mp4", "a/2/video.mp4"], "a/index.html"),
        (["a", "b"], "index.html"),
        (["a/../b"], "b/index.html"),
        (["a", "output=page.html"], "page.html"),
        (["a", "output=new/folder"], "new/folder/index.html"),
        (["output=b", "a"], "b/index.html"),
    ],
)
def test_the_page_lies_where_its_runs_are_or_where_it_is_told(
    tmp_path, monkeypatch, arguments, place
):
    monkeypatch.chdir(tmp_path)
    for name in ("a/1", "a/2", "b/3"):
        write_run(tmp_path / name)
    path = gallery(*arguments)
    assert path == tmp_path / place
    links = Page(path).links
    assert all((path.parent / link).exists() for link in links if not link.startswith("data:"))


def test_runs_outside_the_page_s_folder_get_a_notice(tmp_path):
    write_run(tmp_path / "a")
    ending = confiner("gallery", str(tmp_path / "a"), f"output={tmp_path / 'b'}")
    assert ending.code == 0 and ending.err.startswith("notice: 1 runs lie outside")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "run folders"),
        (["nowhere"], "there is no"),
        (["empty"], "there are no runs"),
        (["runs", "output="], "output="),
        (["runs", "output=a", "output=b"], "at most one output="),
        (["runs", "--open"], "no option --open"),
        (["foreign"], "is no gallery"),
        (["runs", "output=runs/run/video.mp4/x.html"], "cannot use"),
    ],
)
def test_what_the_user_can_fix_is_two_lines_and_changes_nothing(
    tmp_path, monkeypatch, arguments, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    write_run(tmp_path / "runs" / "run")
    write_run(tmp_path / "foreign" / "run")
    (tmp_path / "foreign" / "index.html").write_text("<p>mine</p>", encoding="utf-8")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    ending = confiner("gallery", *arguments)
    assert (ending.code, ending.out) == (2, "")
    assert re.fullmatch(r"error: [^\n]*\nhint: [^\n]*\n", ending.err) and message in ending.err
    assert {
        path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()
    } == before


def test_the_page_is_replaced_whole_and_the_same_runs_give_the_same_page(tmp_path, monkeypatch):
    write_run(tmp_path / "1")
    first = gallery(tmp_path).read_bytes()
    assert gallery(tmp_path).read_bytes() == first
    write_run(tmp_path / "2")
    monkeypatch.setattr(
        Path,
        "replace",
        lambda *paths: (_ for _ in ()).throw(OSError(28, "No space left on device")),
    )
    assert confiner("gallery", str(tmp_path)).code == 2
    assert (tmp_path / "index.html").read_bytes() == first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2", "index.html"]
    monkeypatch.undo()
    assert len(Page(gallery(tmp_path)).texts["prompt"]) == 2


def test_axes_are_what_differs_with_what_was_set_first_and_numbers_in_their_order(tmp_path):
    for number, te in enumerate((100, 50, 9)):
        config = {
            "scheduler": {"name": f"s{te}", "refinement": {"te": te}},
            "output": {"dir": str(number)},
        }
        words = (f"scheduler.refinement.te={te}", f"output.dir={number}")
        write_run(tmp_path / f"{number}", overrides=words, seed=number % 2, config=config)
    write_run(tmp_path / "3", status="failed")
    (tmp_path / "3" / "run.json").write_text(
        '{"status": "failed", "prompt": "a red heart"}', encoding="utf-8"
    )
    axes = axes_of(find_runs([tmp_path]))
    found = {axis.key: axis for axis in axes}
    assert [axis.key for axis in axes if axis.swept] == ["scheduler.refinement.te", "seed"]
    assert found["scheduler.refinement.te"].values == ("9", "50", "100")
    assert found["scheduler.refinement.te"].positions == (2, 1, 0, -1)
    assert "scheduler.name" in found and "prompt" not in found and "output.dir" not in found


SEEDS = (2**64 - 1, 2**53 + 1, 2**53, 2**53 + 2)
"""JavaScript's numbers know no difference between two of these."""


def test_seeds_of_64_bits_are_text_on_the_page_in_their_order(tmp_path):
    for number, seed in enumerate(SEEDS):
        write_run(tmp_path / f"{number}", seed=seed)
    (axis,) = axes_of(find_runs([tmp_path]))
    assert axis.values == tuple(map(str, sorted(SEEDS)))
    assert axis.positions == (3, 1, 0, 2)
    assert confiner("gallery", str(tmp_path)).code == 0
    shown = Page(tmp_path / "index.html")
    assert shown.texts["seed"] == [f"seed {seed}" for seed in SEEDS]
    data = json.loads(shown.texts["data"][0])
    assert data["axes"][0]["values"] == list(map(str, sorted(SEEDS)))


def test_a_value_inside_an_entry_shows_as_its_list(tmp_path):
    for scale in (0.2, 0.5):
        loras = {"loras": [{"path": "a", "scale": scale}]}
        word = f"++experts.spatial.loras.0.scale={scale}"
        write_run(tmp_path / str(scale), overrides=(word,), config={"experts": {"spatial": loras}})
    (axis,) = axes_of(find_runs([tmp_path]))
    assert (axis.key, axis.swept) == ("experts.spatial.loras", True)


@pytest.mark.parametrize("structure", [True, False])
def test_a_poster_shows_one_frame_of_the_result_whatever_the_sheet(tmp_path, structure):
    torch = pytest.importorskip("torch")
    from confiner_cli.media.contact_sheet import first_of_last_row, write_contact_sheet

    for frames, height, width in ((1, 64, 64), (5, 8, 320), (8, 320, 8), (8, 512, 320)):
        blue, red = (
            torch.tensor(rgb, dtype=torch.uint8).expand(height, width, 3)
            for rgb in ([0, 0, 255], [255, 0, 0])
        )
        rows = {"structure": [blue] * frames, "result": [red] + [blue] * (frames - 1)}
        if not structure:
            del rows["structure"]
        write_contact_sheet(tmp_path / "sheet.png", "a title", rows)
        with page_image(tmp_path / "sheet.png") as sheet:
            left, top, across, down = first_of_last_row(sheet.height, sheet.width, len(rows))
            cut = sheet.crop((left, top, left + across, top + down))
            assert cut.getcolors() == [(across * down, (255, 0, 0))]
            assert (
                sheet.getcolors(sheet.width * sheet.height).count((across * down, (255, 0, 0))) == 1
            )
    assert first_of_last_row(100, 300, 2) is None


def test_a_run_without_a_structure_shows_a_frame_of_its_result(tmp_path):
    torch = pytest.importorskip("torch")
    from confiner_cli.media.contact_sheet import write_contact_sheet

    config = {"height": 64, "width": 64, "output": {"structure": False}}
    folder = write_run(tmp_path / "run", ("video.mp4",), config=config)
    frames = [torch.zeros(64, 64, 3, dtype=torch.uint8)] * 2
    write_contact_sheet(folder / "contact_sheet.png", "a title", {"result": frames})
    (run,) = find_runs([tmp_path])
    card = card_of(run, tmp_path)
    assert card.sheet is not None and card.sheet[2] == 1
    assert set(card.links) == {"result", "contact sheet", "record"}


def page_image(path):
    from PIL import Image

    return Image.open(path).convert("RGB")


def test_the_gallery_imports_neither_torch_nor_hydra(tmp_path):
    write_run(tmp_path / "run")
    program = (
        "import sys; from confiner_cli.cli import main; code = main(['gallery', *sys.argv[1:]]);"
        "heavy = {'torch', 'hydra', 'omegaconf', 'diffusers', 'numpy'} & set(sys.modules);"
        "sys.exit(code or ' '.join(heavy) or 0)"
    )
    for argument in (str(tmp_path), "--help"):
        done = subprocess.run(
            [sys.executable, "-c", program, argument], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


def test_no_two_scripts_define_one_name():
    """They share one scope on the page: the later definition would silently win."""
    code = "\n".join((page.HERE / name).read_text(encoding="utf-8") for name in page.SCRIPTS)
    names = re.findall(r"^(?:function|const|let) (\w+)", code, re.MULTILINE)
    assert len(names) > 30 and [name for name, count in Counter(names).items() if count > 1] == []
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", code
    )


def test_a_zipped_gallery_opens_where_it_is_unpacked(tmp_path):
    write_run(tmp_path / "all" / "2026 #1" / "run")
    gallery(tmp_path / "all")
    packed = shutil.make_archive(str(tmp_path / "sent"), "zip", tmp_path / "all")
    shutil.unpack_archive(packed, tmp_path / "there")
    links = [
        link
        for link in Page(tmp_path / "there" / "index.html").links
        if not link.startswith("data:")
    ]
    assert links and all(
        (tmp_path / "there" / os.fsdecode(unquote_to_bytes(link))).is_file() for link in links
    )
