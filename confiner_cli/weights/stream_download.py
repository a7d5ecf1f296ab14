"""Downloading as a stream of counted bytes: progress and Ctrl-C are its reader's business."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any

from huggingface_hub import constants


class StoppedError(Exception):
    """Nobody waits for the download any more."""


def stream_download(download: Callable[[type, Callable[[], None]], Any]) -> Iterator[int]:
    """Run `download(tqdm_class, go_on)` in a thread and yield how many bytes have come.

    Where the stream is closed, or interrupted, nobody waits: the download ends with the next piece
    of a file, or when it asks whether to `go_on`, which raises StoppedError then. What it raises
    before is raised here.
    """
    news: SimpleQueue[int | None] = SimpleQueue()
    stop, done = Event(), Future[Any]()

    def go_on() -> None:
        if stop.is_set():
            raise StoppedError

    def run() -> None:
        try:
            with _without_xet():
                done.set_result(download(_bars(news.put, go_on), go_on))
        except BaseException as error:
            done.set_exception(error)
        news.put(None)

    Thread(target=run, daemon=True).start()
    try:
        while (count := news.get()) is not None:
            yield count
        done.result()
    finally:
        stop.set()


@contextmanager
def _without_xet() -> Iterator[None]:
    """Keep the hub's client from its Xet transfers.

    They cannot be stopped, and tell nothing that could be shown. The client has no argument for it,
    only this switch, which it looks at for every file.
    """
    chosen = constants.HF_HUB_DISABLE_XET
    constants.HF_HUB_DISABLE_XET = True
    try:
        yield
    finally:
        constants.HF_HUB_DISABLE_XET = chosen


def _bars(tell: Callable[[int], None], go_on: Callable[[], None]) -> type:
    """A class in tqdm's place.

    The client makes several bars; the first that counts bytes is the one that tells.
    """
    telling: list[object] = []

    class Bar:
        def __init__(self, *_: Any, total: float | None = None, unit: str = "", **__: Any) -> None:
            self.total = total
            if unit == "B" and not telling:
                telling.append(self)

        def update(self, count: float = 1) -> None:
            go_on()
            if self in telling and count:
                tell(int(count))

        def __enter__(self) -> Bar:
            return self

        def __exit__(self, *_: object) -> None:
            self.close()

        def close(self) -> None:
            """As refresh and the descriptions: for the eyes, and nothing is shown here."""

        def refresh(self, *_: Any, **__: Any) -> None: ...

        set_description = set_description_str = set_postfix_str = refresh

    return Bar
