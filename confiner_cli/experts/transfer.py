"""Downloading as a stream of bytes counted, so that progress and Ctrl-C are the loop's business, not the client's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from threading import Event
from typing import Any


class StoppedError(Exception):
    """Nobody waits for the download any more."""


def transferred(download: Callable[[type], Any]) -> Iterator[int]:
    """Run `download(tqdm_class)` in a thread and yield how many bytes have come, as they come.

    Where the stream is closed, or interrupted, the download ends with the next piece of a file. What it raises is
    raised here.
    """
    news: SimpleQueue[int | None] = SimpleQueue()
    stop = Event()
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(download, _bars(news, stop))
        done.add_done_callback(lambda _: news.put(None))
        try:
            while (count := news.get()) is not None:
                yield count
            done.result()
        finally:
            stop.set()


def _bars(news: SimpleQueue[int | None], stop: Event) -> type:
    """A class in tqdm's place. The client makes several bars; the first that counts bytes is the one that tells."""
    telling: list[object] = []

    class Bar:
        def __init__(self, *_: Any, total: float | None = None, unit: str = "", **__: Any) -> None:
            self.total = total
            if unit == "B" and not telling:
                telling.append(self)

        def update(self, count: float = 1) -> None:
            if stop.is_set():
                raise StoppedError
            if self in telling and count:
                news.put(int(count))

        def __enter__(self) -> Bar:
            return self

        def __exit__(self, *_: object) -> None:
            self.close()

        def close(self) -> None:
            """As refresh and the descriptions: for the eyes, and nothing is shown here."""

        def refresh(self, *_: Any, **__: Any) -> None: ...

        set_description = set_description_str = set_postfix_str = refresh

    return Bar
