"""Functions of the system that fail as some file systems let them."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NoReturn


def refusing(number: int) -> Callable[..., NoReturn]:
    """A function that raises the OSError of a number, whatever it is given."""

    def refuse(*arguments: object, **options: object) -> NoReturn:
        raise OSError(number, os.strerror(number))

    return refuse
