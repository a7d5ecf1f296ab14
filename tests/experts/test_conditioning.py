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


def test_of_two_lengths_the_shorter_text_is_repeated():
    short, long = told(1, mask=True), told(2, 3, mask=True)
    long = long.repeated(4)
    found = short.followed_by(long)
    assert found.states.shape == (3, 4, 3) and found.mask.shape == (3, 4)
    assert found.states[:, :, 0].tolist() == [[1] * 4, [2] * 4, [3] * 4]
    back = long.followed_by(short)
    assert back.states[:, :, 0].tolist() == [[2] * 4, [3] * 4, [1] * 4]


def test_lengths_that_do_not_divide_do_not_go_together():
    two, four, six = (told(1).repeated(count) for count in (2, 4, 6))
    assert two.goes_with(six) and six.goes_with(two) and four.goes_with(four)
    assert not four.goes_with(six) and not six.goes_with(four)
    with pytest.raises(ValueError, match="6 tokens cannot be told by 4"):
        six.followed_by(four)


def test_to_attention_a_repeated_text_is_the_same_text():
    query, text = (
        torch.randn(1, count, 8, generator=torch.Generator().manual_seed(count)) for count in (5, 3)
    )
    attend = torch.nn.functional.scaled_dot_product_attention
    thrice = Conditioning(text).repeated(9).states
    assert torch.allclose(attend(query, text, text), attend(query, thrice, thrice), atol=1e-6)
