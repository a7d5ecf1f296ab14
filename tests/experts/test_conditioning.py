"""What networks are told: repeated for a batch, put one after another, never mixed up."""

import pytest
import torch

from confiner_cli.experts.conditioning import Conditioning


def told(*numbers: float, mask: bool = False, extras: bool = False) -> Conditioning:
    """A sample for each number, of two tokens that are this number."""
    column = torch.tensor(numbers)
    return Conditioning(
        states=column[:, None, None].expand(-1, 2, 3),
        mask=(column > 1)[:, None].expand(-1, 2) if mask else None,
        extras={"image": column[:, None]} if extras else {},
    )


def test_samples_of_a_batch_keep_their_order():
    found = told(1, 2, mask=True, extras=True).for_batch(6)
    assert found.states[:, 0, 0].tolist() == [1, 1, 1, 2, 2, 2]
    assert found.mask[:, 0].tolist() == [False] * 3 + [True] * 3
    assert found.extras["image"][:, 0].tolist() == [1, 1, 1, 2, 2, 2]
    assert found.states.shape == (6, 2, 3) and found.mask.shape == (6, 2)


def test_a_batch_of_as_many_samples_is_told_the_same():
    one = told(1, 2)
    assert one.for_batch(2) is one


@pytest.mark.parametrize(("count", "samples"), [(2, 3), (2, 1), (3, 2), (2, 0)])
def test_a_batch_that_cannot_be_shared_out_is_refused(count, samples):
    with pytest.raises(ValueError, match=f"{samples} samples cannot be told {count} things"):
        told(*range(count)).for_batch(samples)


def test_one_follows_the_other():
    found = told(1, mask=True, extras=True).followed_by(told(2, 3, mask=True, extras=True))
    assert found.states[:, 0, 0].tolist() == [1, 2, 3]
    assert found.mask[:, 0].tolist() == [False, True, True]
    assert found.extras["image"][:, 0].tolist() == [1, 2, 3]
    assert told(1).followed_by(told(2)).mask is None


@pytest.mark.parametrize("kind", ["mask", "extras"])
def test_those_of_two_kinds_of_networks_do_not_go_together(kind):
    with pytest.raises(ValueError, match="of one network"):
        told(1, **{kind: True}).followed_by(told(2))
