"""Pictures of what a learned model dreams."""

import numpy as np

from tegu.analysis.plots import COLOURS, PALE

_GAP = 1 / 16  # between images, as a share of their height


def dream_frames(
    observed: np.ndarray, reconstructed: np.ndarray, dreamt: np.ndarray, *, side_by_side: bool
) -> list[np.ndarray]:
    """What was observed ``[T + 1, H, W, C]``, what a model reconstructs of it, and what it dreamt in place of the last
    ``B`` observations, ``[B, H, W, C]``: ``T + 1`` frames ``[height, width, 3]`` uint8.

    Pixels are from 0 to 1; where more was observed, the least of that is drawn as 0, and the largest as 1.
    Each frame has the three next to each other if ``side_by_side``, else one below the other. Before the dream its
    place is empty.
    """
    low, high = min(observed.min(), 0), max(observed.max(), 1)
    parts = [as_colours((images - low) / (high - low)) for images in (observed, reconstructed, dreamt)]
    nothing = np.full((len(observed) - len(dreamt), *parts[0].shape[1:]), _rgb(PALE), np.uint8)
    parts[2] = np.concatenate([nothing, parts[2]])
    axis = 2 if side_by_side else 1
    shape = list(parts[0].shape)
    shape[axis] = max(round(_GAP * shape[1]), 1)
    gap = np.full(shape, 255, np.uint8)
    return list(np.concatenate([parts[0], gap, parts[1], gap, parts[2]], axis=axis))


def as_colours(images: np.ndarray) -> np.ndarray:
    """Images ``[..., H, W, C]`` with pixels from 0 to 1 in colours, ``[..., H, W, 3]`` uint8.

    One channel is grey, three are red, green and blue; of any other number, as of stacked frames, each has a colour of
    its own.
    """
    images, channels = np.clip(np.asarray(images, np.float64), 0, 1), images.shape[-1]
    if channels == 1:
        images = images.repeat(3, axis=-1)
    elif channels != 3:
        shown = [_rgb(name) for name in COLOURS if name != "#000000"]
        colours = np.array([shown[number % len(shown)] for number in range(channels)]) / 255
        images = np.clip(images @ colours, 0, 1)
    return np.round(255 * images).astype(np.uint8)


def _rgb(name: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(name[1:]))
