"""Errors are values: they arrive from another process as they left it."""

import pickle

import pytest

from confiner_cli.errors import ConfinerError, FailedError, NotFiniteError


@pytest.mark.parametrize(
    "error",
    [
        ConfinerError("no such thing", "name another"),
        FailedError("it broke", "tell us"),
        NotFiniteError("refinement", 3, "spatial", 40.0),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_that_was_pickled_says_the_same_with_the_same_exit_code(error):
    again = pickle.loads(pickle.dumps(error))
    assert (again.lines(), again.exit_code) == (error.lines(), error.exit_code)
