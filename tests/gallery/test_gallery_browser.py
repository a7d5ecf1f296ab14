"""The gallery in a real Chromium: plays, filters, sorts, lays out; no prompt becomes markup."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from time import monotonic

import pytest
from support.browser import browser, until, visit
from support.command_line import QUICK, confiner, facts_of, generate
from support.gallery_runs import hostile_prompts, write_run
from support.pictures import SIZE, flat

from confiner_cli.media.video import write_video

pytestmark = pytest.mark.browser

PATTERNS = ("coordinated", "spatial_only")
MOVING = (
    "[...document.querySelectorAll('.card video')]"
    ".filter(({ played }) => played.length && played.end(0) > played.start(0)).length"
)
PROMPTS_SHOWN = (
    "[...document.querySelectorAll('.card')].filter((card) => card.checkVisibility())"
    ".map((card) => card.querySelector('.prompt').textContent)"
)
FOCUSED = (
    "[document.activeElement].map((one) => one.classList[0] ?? (one.name || one.localName))[0]"
)
TIMES = "[...document.querySelectorAll('#sides video')].map((video) => video.currentTime)"
SETTLED = (
    "sides.every(({ video, next }) => video.readyState > 1 && !video.seeking && next === null)"
)
COUNT_OVERTAKEN = """() => {
    const time = Object.getOwnPropertyDescriptor(HTMLMediaElement.prototype, "currentTime");
    window.overtaken = 0;
    const set = function (to) { window.overtaken += this.seeking; time.set.call(this, to); };
    Object.defineProperty(HTMLMediaElement.prototype, "currentTime", { ...time, set });
}"""


@pytest.fixture(scope="module")
def chromium():
    with browser() as running:
        yield running


@pytest.fixture(scope="module")
def sweep(tmp_path_factory, chromium):
    """The gallery of two prompts by two patterns, a failed run, and one at another rate."""
    root = tmp_path_factory.mktemp("gallery")
    words = (
        "prompt=a red heart rising over the sea",
        "prompt=a blue star falling",
        "seed=1",
        *QUICK,
    )
    ending = generate(
        "-m",
        *words,
        f"scheduler.refinement.pattern={','.join(PATTERNS)}",
        f"output.dir={root / 'sweep'}",
    )
    assert ending.code == 0, ending.err
    slow = generate(
        "prompt=a slow green square", *QUICK, "seed=3", "fps=4", f"output.dir={root / 'slow'}"
    )
    assert slow.code == 0, slow.err
    failed = {
        "status": "failed",
        "prompt": "too high",
        "error": "height=17 is not a multiple of 8",
        "hint": "height=16",
    }
    (root / "sweep" / "9-failed").mkdir()
    (root / "sweep" / "9-failed" / "run.json").write_text(json.dumps(failed), encoding="utf-8")
    assert confiner("gallery", str(root)).code == 0
    return root


def copies(run: Path, root: Path, count: int, **lists) -> Path:
    """A gallery of one run many times, its files linked and its record changed."""
    facts = facts_of(run)
    for number in range(count):
        folder = root / f"{number}-run"
        folder.mkdir(parents=True)
        for name in ("video.mp4", "structure.mp4", "contact_sheet.png"):
            os.link(run / name, folder / name)
        changed = {key: values[number] for key, values in lists.items()}
        facts["seconds"]["total"] = float(number * 37 % count)
        config = facts["config"] | {
            key: value for key, value in changed.items() if key in ("prompt", "seed")
        }
        (folder / "run.json").write_text(
            json.dumps(facts | changed | {"config": config}), encoding="utf-8"
        )
    assert confiner("gallery", str(root)).code == 0
    return root / "index.html"


def test_videos_in_view_play_and_failed_runs_show_their_error(chromium, sweep):
    with visit(chromium, sweep / "index.html") as seen:
        until(seen.page, f"{MOVING} === 5")
        error = seen.page.locator(".error p").all_inner_texts()
        assert error == ["error: height=17 is not a multiple of 8", "hint: height=16"]
        assert seen.page.locator("#count").inner_text() == "6 of 6 runs"


def test_with_reduced_motion_only_the_video_pointed_at_plays(chromium, sweep):
    with visit(chromium, sweep / "index.html", reduced_motion="reduce") as seen:
        assert not seen.page.locator("[name=play]").is_checked()
        seen.page.wait_for_timeout(400)
        assert seen.page.evaluate(MOVING) == 0
        seen.page.locator(".card:has(.open)").nth(1).hover()
        until(seen.page, f"{MOVING} === 1")


def test_the_filter_narrows_and_the_address_remembers(chromium, sweep):
    with visit(chromium, sweep / "index.html") as seen:
        seen.page.get_by_label("Filter").fill("HEART pattern=coord")
        assert seen.page.evaluate(PROMPTS_SHOWN) == ["a red heart rising over the sea"]
        assert seen.page.locator("#count").inner_text() == "1 of 6 runs"
        view = seen.page.evaluate("location.hash")
        seen.page.get_by_label("Filter").fill("elephant")
        assert (
            seen.page.evaluate(PROMPTS_SHOWN) == [] and seen.page.locator("#nothing").is_visible()
        )
        seen.page.get_by_role("button", name="Show all").click()
        assert len(seen.page.evaluate(PROMPTS_SHOWN)) == 6
    with visit(chromium, sweep / "index.html", view) as seen:
        assert seen.page.evaluate(PROMPTS_SHOWN) == ["a red heart rising over the sea"]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("key", ["seconds", "passes"])
def test_runs_are_sorted_by_cost_with_those_that_have_none_last(chromium, sweep, key, reverse):
    with visit(chromium, sweep / "index.html") as seen:
        seen.page.get_by_label("Sort").select_option(key)
        seen.page.get_by_label("Reverse").set_checked(reverse)
        order = seen.page.evaluate(
            "[...document.querySelectorAll('.card')]"
            f".map((c) => runs.find((r) => r.card === c).{key})"
        )
        assert order[-1] is None and order[:-1] == sorted(order[:-1], reverse=reverse)


def test_a_sweep_is_a_grid_of_any_two_of_its_parameters(chromium, sweep):
    with visit(chromium, sweep / "index.html") as seen:
        seen.page.get_by_label("Folder").select_option("sweep")
        seen.page.get_by_label("Filter").fill("done")
        seen.page.get_by_label("Grid").check()
        chosen = [seen.page.get_by_label(label).input_value() for label in ("Rows", "Columns")]
        assert chosen == ["prompt", "scheduler.refinement.pattern"]
        assert seen.page.locator("thead th").all_inner_texts() == [*PATTERNS]
        assert len(seen.page.locator("tbody th").all_inner_texts()) == 2
        cells = "[...document.querySelectorAll('#grid tbody td')]"
        counts = seen.page.evaluate(f"{cells}.map((cell) => cell.children.length)")
        assert counts == [1] * 4
        until(seen.page, f"{MOVING} === 4")
        seen.page.get_by_label("Rows").select_option("nothing")
        assert len(seen.page.locator("#grid tbody tr").all()) == 1
        seen.page.get_by_label("Grid").uncheck()
        assert (
            len(seen.page.evaluate(PROMPTS_SHOWN)) == 4 and seen.page.locator("#grid").is_hidden()
        )


def test_two_runs_are_compared_by_keyboard_alone_frame_by_frame(chromium, sweep):
    with visit(chromium, sweep / "index.html", reduced_motion="reduce") as seen:
        page = seen.page
        boxes = page.get_by_role("checkbox", name="Compare")
        for number in (1, 2):
            boxes.nth(number).focus()
            page.keyboard.press("Space")
        page.keyboard.press("c")
        assert page.get_by_role("dialog").is_visible()
        until(page, SETTLED)
        before = page.evaluate(TIMES)
        for key in ("ArrowRight", ".", "ArrowLeft", "ArrowRight"):
            page.keyboard.press(key)
        until(page, SETTLED)
        steps = [now - then for now, then in zip(page.evaluate(TIMES), before, strict=True)]
        assert steps == pytest.approx([2 / 8, 2 / 8], abs=1e-3)
        assert page.locator("#time").inner_text().startswith("frame 3 of 4")
        page.keyboard.press("End")
        page.keyboard.press("ArrowRight")
        assert page.locator("#time").inner_text().startswith("frame 4 of 4")
        page.keyboard.press("Escape")
        assert page.get_by_role("dialog").is_hidden()
        assert page.evaluate(
            "document.activeElement === document.querySelectorAll('.tick input')[2]"
        )


def test_no_seek_overtakes_another_and_the_last_one_asked_for_wins(chromium, sweep):
    with visit(chromium, sweep / "index.html", reduced_motion="reduce") as seen:
        page = seen.page
        for number in (1, 2):
            page.get_by_role("checkbox", name="Compare").nth(number).check()
        page.keyboard.press("c")
        until(page, SETTLED)
        page.evaluate(COUNT_OVERTAKEN)
        page.evaluate("[1, 1, -1, 1].forEach(step)")  # faster than a seek ends
        until(page, SETTLED)
        assert page.evaluate("overtaken") == 0
        assert page.evaluate(TIMES) == pytest.approx([2.5 / 8, 2.5 / 8], abs=1e-3)


def test_compared_videos_play_together_and_name_what_differs(chromium, sweep):
    names = sorted(
        path.name
        for path in (sweep / "sweep").iterdir()
        if path.name != "9-failed" and path.is_dir()
    )
    view = f"#compare=sweep/{names[0]}&compare=sweep/{names[1]}"
    with visit(chromium, sweep / "index.html", view) as seen:
        page = seen.page
        until(page, f"{TIMES}.every((time) => time > 0.2)")
        assert page.evaluate(f"Math.abs({TIMES}[0] - {TIMES}[1])") < 1 / 8
        until(page, f"{TIMES}.every((time) => time < 0.2)")  # together from the start again
        page.keyboard.press("Space")
        assert page.evaluate("sides.every(({ video }) => video.paused)")
        rows = [row.split("\t") for row in page.locator("#differences tr").all_inner_texts()]
        assert ["scheduler.refinement.pattern", *PATTERNS] in rows
        assert not [row for row in rows if row[0] == "prompt"]
        assert page.evaluate("sides.every(({ video }) => video.src.endsWith('/video.mp4'))")
        page.keyboard.press("s")
        assert page.evaluate("sides.every(({ video }) => video.src.endsWith('/structure.mp4'))")
        assert page.locator("figcaption b").all_inner_texts() == ["structure", "structure"]


def test_videos_of_different_rates_share_one_clock(chromium, sweep):
    (name,) = (path.name for path in (sweep / "sweep").glob("0-*"))
    with visit(
        chromium,
        sweep / "index.html",
        f"#compare=slow&compare=sweep/{name}",
        reduced_motion="reduce",
    ) as seen:
        page = seen.page
        until(page, SETTLED)
        assert (
            page.locator("#time").inner_text() == "frame 1 of 8, 0.00 s"
        )  # 4 frames at 4 a second last a second
        for _ in range(5):
            page.keyboard.press("ArrowRight")
        until(page, SETTLED)
        slow, quick = page.evaluate(TIMES)
        assert slow == pytest.approx(2.5 / 4, abs=1e-3)
        assert 3 / 8 < quick <= 4 / 8  # the shorter one waits at its last frame


def test_hostile_prompts_stay_text(chromium, sweep, tmp_path):
    prompts = hostile_prompts()
    (run,) = (sweep / "sweep").glob("0-*")
    path = copies(run, tmp_path / "all", len(prompts), prompt=prompts, seed=prompts, error=prompts)
    with visit(chromium, path) as seen:
        shown = seen.page.evaluate(
            "[...document.querySelectorAll('.prompt')].map((one) => one.textContent)"
        )
        read = [
            prompt.encode("utf-8", "replace").decode().replace("\r\n", "\n").replace("\0", "")
            for prompt in prompts
        ]
        assert shown == read
        seen.page.get_by_label("Grid").check()  # too many cells: said so
        seen.page.get_by_label("Columns").select_option("nothing")
        assert len(seen.page.locator("#grid tbody th").all()) > 190
        for number in (0, 1):
            seen.page.locator(".tick input").nth(number).check()
        seen.page.get_by_role("button", name="Compare").click()
        assert seen.page.locator("#differences tr").count() == 2
        kinds = seen.page.evaluate(
            "[...document.body.querySelectorAll('*')].map((one) => one.localName)"
        )
        assert not set(kinds) & {
            "svg",
            "math",
            "iframe",
            "object",
            "embed",
            "base",
            "link",
            "meta",
            "style",
            "template",
        }
        assert seen.page.evaluate("document.scripts.length") == 3
        odd = (
            "[...document.querySelectorAll('*')].flatMap((one) => one.getAttributeNames())"
            ".filter((name) => name.startsWith('on'))"
        )
        assert seen.page.evaluate(odd) == []


def test_without_javascript_all_is_there_to_read_and_play(chromium, sweep):
    with visit(chromium, sweep / "index.html", java_script_enabled=False) as seen:
        assert seen.page.locator(".prompt").count() == 6
        assert seen.page.locator("video[controls]").count() == 5
        assert seen.page.locator("video[controls]").first.is_visible()
        assert (
            seen.page.locator("#controls").is_hidden()
            and seen.page.locator(".tick").first.is_hidden()
        )


@pytest.mark.parametrize("view", ["", "#grid=1", "#q=elephant"])
def test_nothing_is_wider_than_a_narrow_screen(chromium, sweep, view):
    with visit(chromium, sweep / "index.html", view, width=400) as seen:
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= 400


def test_every_control_has_a_name_and_is_reached_by_tabbing(chromium, sweep):
    with visit(chromium, sweep / "index.html", reduced_motion="reduce") as seen:
        reached = []
        for _ in range(40):
            seen.page.keyboard.press("Tab")
            reached.append(seen.page.evaluate(FOCUSED))
        assert {
            "q",
            "folder",
            "sort",
            "reverse",
            "play",
            "grid",
            "open",
            "summary",
            "input",
        } <= set(reached)
        for control in seen.page.locator("input, select, button, a.open").all():
            if control.is_visible():
                assert control.evaluate(
                    "(one) => "
                    "(one.ariaLabel ?? one.labels?.[0]?.textContent ?? one.textContent).trim()"
                )


def test_a_picture_that_moves_is_shown_in_its_card_and_beside_a_video(chromium, tmp_path):
    frames = flat()
    write_run(tmp_path / "1", ("contact_sheet.png",), config={"output": {"format": "gif"}})
    write_video(tmp_path / "1" / "video.gif", frames, SIZE, 8)
    write_video(tmp_path / "1" / "structure.mp4", frames, SIZE, 8)
    write_run(tmp_path / "2", ("contact_sheet.png",), prompt="a blue star")
    write_video(tmp_path / "2" / "video.mp4", frames, SIZE, 8)
    assert confiner("gallery", str(tmp_path)).code == 0
    with visit(chromium, tmp_path / "index.html") as visited:
        page = visited.page
        until(page, "document.querySelector('.card img.result')?.naturalWidth === 48")
        until(page, f"{MOVING} === 1")
        for tick in page.query_selector_all(".tick input"):
            tick.click()
        page.keyboard.press("c")
        until(page, "document.querySelector('#sides img:not([hidden])')?.naturalWidth === 48")
        until(page, "Number(document.getElementById('frame').value) > 0")  # the video is the clock
        assert page.evaluate("sides.map(({ picture }) => picture.hidden)") == [False, True]
        page.keyboard.press("s")
        until(page, "sides[0].video.readyState > 1 && sides[0].picture.hidden")


def test_a_moved_gallery_still_plays(chromium, sweep, tmp_path):
    shutil.copytree(sweep, tmp_path / "moved #1, 50%")
    with visit(chromium, tmp_path / "moved #1, 50%" / "index.html") as seen:
        until(seen.page, f"{MOVING} === 5")


def test_of_a_thousand_runs_only_those_in_sight_are_read(chromium, sweep, tmp_path):
    (run,) = (sweep / "sweep").glob("0-*")
    path = copies(run, tmp_path / "all", 1000, seed=[*range(1000)])
    began = monotonic()
    with visit(chromium, path) as seen:
        until(seen.page, "document.getElementById('count').textContent === '1000 of 1000 runs'")
        seconds, megabytes = monotonic() - began, path.stat().st_size / 1e6
        print(f"1,000 runs: {seconds:.2f} s to a page that can be used, {megabytes:.1f} MB")
        until(seen.page, f"{MOVING} > 5")
        read = [url for url in seen.asked if url.endswith((".mp4", ".png"))]
        assert len(read) < 100
        for _ in range(20):
            seen.page.mouse.wheel(0, 2000)
        until(seen.page, f"{MOVING} > 5")
        assert seen.page.evaluate("document.querySelectorAll('.card video').length") < 40
        seen.page.get_by_label("Filter").fill("seed=999")
        assert seen.page.locator("#count").inner_text() == "1 of 1000 runs"
