"""Frames of one colour each."""

import torch

COLOURS = torch.tensor(
    [
        [0, 255, 0],
        [255, 0, 0],
        [0, 0, 255],
        [255, 255, 255],
        [0, 0, 0],
        [128, 128, 128],
        [230, 120, 20],
    ],
    dtype=torch.uint8,
)


SIZE = (32, 48)


def flat(colours=COLOURS, height=SIZE[0], width=SIZE[1]):
    """One frame of each colour."""
    return colours[:, None, None].expand(-1, height, width, 3)
