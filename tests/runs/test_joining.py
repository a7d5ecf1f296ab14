"""Windows take their drafts from structures as frames, where latents cannot be cut."""

from itertools import chain, repeat

import pytest
import torch

from confiner_cli.method.latent_space import LatentSpace
from confiner_cli.method.long.timeline import Timeline
from confiner_cli.method.pipeline import Structure
from confiner_cli.runs.joining import InLatents, Whole
from confiner_cli.runs.joining_frames import InFrames

WAN = LatentSpace(channels=3, factor=1, time_factor=4)
SIDE = 4


def encode(frames):
    """A coder that remembers the frames' mean in each latent, and half of what changes in it."""
    pixels = frames.float().permute(3, 0, 1, 2)[None]
    blocks = [pixels[:, :, :1], *pixels[:, :, 1:].split(4, dim=2)]
    return torch.cat([block.mean(2, keepdim=True) for block in blocks], dim=2)


def decode(latents):
    """Its other direction: one frame, then four a latent, and a level too bright."""
    first, *later = latents[0].movedim(0, -1)
    for block in (first[None], *(latent.expand(4, -1, -1, -1) for latent in later)):
        yield (block + 1).clamp(0, 255).round().to(torch.uint8)


def in_frames(timeline, source=None):
    return InFrames(timeline, decode, encode, decode, source)


def structures_of(timeline, level):
    latents = torch.full((1, 3, WAN.length(timeline.length), SIDE, SIDE), level)
    return {n: Structure(n, latents) for n in range(int(timeline.structure_count))}


def video(timeline, joining, structures, refine=lambda draft: draft):
    """All frames, `(frame, height, width, 3)`, of windows that an expert refines."""
    shown, before = [], None
    for number in range(int(timeline.window_count)):
        needed = timeline.structures_of(timeline.refines(number))
        refined = refine(joining.draft(number, {n: structures[n] for n in needed}))
        assert refined.shape[2] == WAN.length(len(timeline.refines(number)))
        (frames,) = joining.frames(number, refined, before if timeline.overlap else None)
        shown += chain.from_iterable(frames)
        before = refined
    return torch.stack(shown)


@pytest.mark.parametrize("overlap", [0, 4, 6])
def test_forty_windows_whose_expert_changes_nothing_do_not_drift(overlap):
    """Structures make one round trip more than the draft itself, the last as many as the first."""
    timeline = Timeline(40 * 17 - 9, 17, overlap, space=WAN)
    assert timeline.window_count >= 40
    frames = video(timeline, in_frames(timeline), structures_of(timeline, 100.0))
    assert len(frames) == timeline.num_frames
    means = torch.stack([chunk.float().mean() for chunk in frames.split(17)])
    assert (means - means[0]).abs().max() <= 0.5


def test_frames_that_two_windows_refine_go_over_from_one_to_the_other():
    timeline = Timeline(60, 17, 8, space=WAN)
    levels = chain([10.0], repeat(110.0))

    def refine(draft):
        return torch.full_like(draft, next(levels))

    frames = video(timeline, in_frames(timeline), structures_of(timeline, 50.0), refine)
    start = timeline.window(1).start
    seen = frames[:, 0, 0, 0].tolist()
    assert set(seen[:start]) == {11} and set(seen[start + 8 :]) == {111}
    between = seen[start : start + 8]
    assert between == sorted(between) and between[0] > 11 and between[-1] < 111
    steps = torch.tensor(between, dtype=torch.float32).diff()
    assert (steps - 100 / 9).abs().max() <= 1


def test_a_window_sees_the_frames_of_the_video_that_are_its_own():
    timeline = Timeline(40, 17, 4, space=WAN)
    structures = {}
    for number in range(3):
        frames = torch.arange(17 * number, 17 * (number + 1)).float()
        latents = torch.stack([block.mean() for block in (frames[:1], *frames[1:].split(4))])
        structures[number] = Structure(number, latents.view(1, 1, -1, 1, 1).expand(1, 3, 5, 2, 2))
    joining = in_frames(timeline)
    drafts = [joining.draft(n, structures) for n in range(int(timeline.window_count))]
    shown = torch.cat([torch.stack(list(chain.from_iterable(decode(each.latents))))
                       for each in structures.values()])  # fmt: skip
    for number, draft in enumerate(drafts):
        span = timeline.refines(number)
        held = [min(frame, 50) for frame in span.frames]
        assert torch.equal(draft, encode(shown[held]))


def test_a_video_that_is_given_is_encoded_straight_window_by_window():
    timeline = Timeline(40, 17, 4, space=WAN)
    asked = []

    def source(span):
        asked.append(span)
        return torch.full((len(span), SIDE, SIDE, 3), 7, dtype=torch.uint8)

    joining = in_frames(timeline, source)
    assert torch.equal(joining.draft(1, {}), encode(source(timeline.refines(1))))
    assert asked == [timeline.refines(1)] * 2


@pytest.mark.parametrize("staggered", [True, False])
def test_what_neighbours_share_is_decoded_once(staggered):
    timeline = Timeline(100, 17, 4, staggered, space=WAN)
    counts = []

    def counted(latents):
        counts.append(1)
        return decode(latents)

    joining = InFrames(timeline, counted, encode, counted)
    video(timeline, joining, structures_of(timeline, 50.0))
    assert len(counts) == timeline.structure_count + timeline.window_count


def test_one_structure_in_one_window_is_handed_on_and_cut_at_the_end():
    timeline = Timeline(15, 17, space=WAN)
    structure = Structure(0, torch.rand(2, 3, 5, SIDE, SIDE) * 200)
    joining = Whole(timeline, decode)
    assert joining.draft(0, {0: structure}) is structure.latents
    for frames, sample in zip(joining.frames(0, structure.latents, None), structure.latents,
                              strict=True):  # fmt: skip
        whole = torch.stack(list(chain.from_iterable(decode(sample[None]))))
        assert torch.equal(torch.stack(list(chain.from_iterable(frames))), whole[:15])


def test_where_each_latent_is_a_frame_they_are_cut_and_faded_as_latents():
    timeline = Timeline(10, 4, 2)
    structures = {n: Structure(n, torch.full((1, 3, 4, 2, 2), float(n))) for n in range(3)}
    joining = InLatents(timeline, lambda latents: [latents])
    draft = joining.draft(1, structures)
    assert draft[0, 0, :, 0, 0].tolist() == [frame // 4 for frame in timeline.refines(1).frames]
