"""What a person sees while waiting."""

from confiner_cli import progress


def test_more_than_was_to_do_ends_nothing():
    """Where everything was done and something turned out to be damaged, it is made again."""
    with progress.evaluations(0) as tell:
        tell("refinement")
