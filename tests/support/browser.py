"""The distribution's Chromium, driven by Playwright: the browser's own download is not used."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip

PATIENCE = 120
"""Seconds until a page counts as one that will never meet a condition, also on a slow machine."""


@dataclass
class Visit:
    """A page that was opened, the errors it told the console, asked for and popped up."""

    page: object
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    popped: list[str] = field(default_factory=list)


@contextmanager
def browser() -> Iterator[object]:
    """A running Chromium, or a skipped test where there is none."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install -e .[dev]"
    )
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser is installed ({', '.join(NAMES)}): apt-get install chromium")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=found, args=[*FLAGS])
        yield chromium
        chromium.close()


@contextmanager
def visit(
    chromium, path: Path, view: str = "", width: int = 1200, height: int = 800, **options
) -> Iterator[Visit]:
    """Open a gallery, in which nothing may go wrong or be fetched from elsewhere."""
    context = chromium.new_context(viewport={"width": width, "height": height}, **options)
    context.set_default_timeout(1000 * PATIENCE)
    page = context.new_page()
    seen = Visit(page)
    page.on(
        "console",
        lambda message: seen.said.append(message.text) if message.type == "error" else None,
    )
    page.on("pageerror", lambda error: seen.said.append(str(error)))
    page.on("request", lambda request: seen.asked.append(request.url))
    page.on("dialog", lambda dialog: (seen.popped.append(dialog.message), dialog.dismiss()))
    page.goto(path.as_uri() + view)
    yield seen
    context.close()
    assert (seen.said, seen.popped) == ([], [])
    assert [url for url in seen.asked if not url.startswith(("file:", "data:"))] == []


def until(page, condition: str, seconds: float = PATIENCE) -> None:
    """Wait until a JavaScript condition holds, from outside: the page's policy forbids eval."""
    ends = time.monotonic() + seconds
    while not page.evaluate(condition):
        assert time.monotonic() < ends, f"after {seconds} s not yet: {condition}"
        time.sleep(0.02)
