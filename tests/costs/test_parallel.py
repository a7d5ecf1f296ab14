"""How many threads a pass is enough for: few for the embedded experts, many for published ones."""

import math
from dataclasses import replace

from confiner_cli.config.resolve import resolve
from confiner_cli.costs.parallel import busy_threads
from confiner_cli.runs.provenance import settings_of_words


def job(*words):
    return resolve(settings_of_words(words))


def test_small_networks_keep_one_busy_and_larger_frames_more():
    assert busy_threads(job()) == busy_threads(job("num_frames=1", "height=8", "width=8")) == 1
    assert 1 < busy_threads(job("height=128", "width=128")) < 8
    assert busy_threads(job("height=256", "width=256")) >= 8


def test_a_batch_is_so_much_more_work():
    assert busy_threads(job(), batch=8) >= 4


def test_of_a_long_video_a_pass_has_one_segment():
    long = job("num_frames=600", "long_video=confiner_long")
    assert busy_threads(long) == 1


def test_published_networks_keep_all_busy_that_there_are_and_so_do_those_of_unknown_size():
    assert busy_threads(job("experts=lavie_sd")) > 128
    tiny = job()
    unknown = {role: replace(spec, architecture=None) for role, spec in tiny.experts.items()}
    assert busy_threads(replace(tiny, experts=unknown)) == math.inf
