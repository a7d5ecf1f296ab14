"""One row of a nested config."""

from confiner_cli.config.flatten import DEEPEST, flatten


def test_leaves_have_dotted_keys_in_the_order_of_the_config():
    config = {"a": 1, "b": {"c": [1, 2], "d": {"e": None}}, "f": {}}
    assert list(flatten(config).items()) == [("a", 1), ("b.c", [1, 2]), ("b.d.e", None), ("f", {})]


def test_prompts_are_one_value_whatever_their_frames():
    assert flatten({"prompts": {"8": "a", "12": "b"}}) == {"prompts": {"8": "a", "12": "b"}}


def test_a_config_that_nests_without_end_is_cut():
    config = {}
    for _ in range(10_000):
        config = {"a": config}
    (key,) = flatten(config)
    assert key.count(".") == DEEPEST
