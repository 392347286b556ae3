"""Frame strips and animations."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tegu.analysis.output import checked_path, enlargement, frame_size, plotting, written
from tegu.analysis.plots import INK
from tegu.core.errors import TeguError

if TYPE_CHECKING:
    from PIL.Image import Image

_ANIMATED, _IN_STRIP = 480, 240  # pixels: the longer side of a frame
_GAP = 1 / 16  # between frames side by side, as a share of their height
_GIF_FASTEST = 50  # frames per second; browsers slow down what is faster


def frame_strip(
    frames: Sequence[np.ndarray],
    path: Path | str,
    columns: int = 6,
    rows: int = 1,
    returns: Sequence[float] | None = None,
) -> None:
    """Write ``columns * rows`` evenly spaced frames, the first and the last among them, as one .png with their numbers.

    Each frame is ``[height, width, 3]`` uint8. ``returns``: for each frame, what is said to have been paid until then.
    """
    path = checked_path(path, ".png")
    with plotting():
        from PIL import Image, ImageDraw, ImageFont
    chosen = np.unique(np.linspace(0, len(frames) - 1, columns * rows).round().astype(int))[: len(frames)]
    pictures = _pictures([frames[index] for index in chosen], _IN_STRIP)
    width, height = pictures[0].size
    gap, caption = 8, 22
    across = min(columns, len(pictures))
    down = -(-len(pictures) // across)
    sheet = Image.new("RGB", (across * (width + gap) + gap, down * (height + caption + gap) + gap), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for place, (number, picture) in enumerate(zip(chosen, pictures, strict=True)):
        x, y = gap + place % across * (width + gap), gap + place // across * (height + caption + gap)
        sheet.paste(picture, (x, y))
        words = f"{number:,}" if returns is None else f"step {number:,}, return {returns[number]:.4g}"
        draw.text((x + width / 2, y + height + caption / 2), words, fill=INK, font=font, anchor="mm")
    with written(path) as temporary:
        sheet.save(temporary)


def animation(frames: Sequence[np.ndarray], path: Path | str, fps: float = 30.0, *, columns: int = 1) -> None:
    """Write frames ``[height, width, 3]`` uint8 as a .gif or .webp that loops for ever, at true speed.

    Large frames are shrunk, less so where each shows several ``columns`` side by side. A GIF has one palette for all
    frames, so that colours do not flicker, and shows at most 50 frames per second: of faster ones some are left out.
    """
    path = checked_path(path, ".gif", ".webp")
    if not fps > 0:
        raise TeguError(f"frames per second must be above 0, got {fps}")
    gif = path.suffix.lower() == ".gif"
    stride = int(np.ceil(fps / _GIF_FASTEST)) if gif else 1
    pictures = _pictures(frames[::stride], round(_ANIMATED * (columns + (columns - 1) * _GAP)))
    tick = 10 if gif else 1  # milliseconds; rounding the times and not the durations keeps the speed true
    times = (np.arange(len(pictures) + 1) * stride * 1000 / fps / tick).round().astype(int) * tick
    first, *rest = _in_one_palette(pictures) if gif else pictures
    with written(path) as temporary:
        first.save(temporary, save_all=True, append_images=rest, duration=np.diff(times).tolist(), loop=0, quality=80)


def side_by_side(episodes: Sequence[Sequence[np.ndarray]], *, vertically: bool = False) -> list[np.ndarray]:
    """The frames ``[height, width, 3]`` uint8 of several episodes next to each other, or one below the other.

    Small ones are enlarged as in an animation. An episode that ends early stays at its last frame. ``TeguError`` unless
    all frames are of one size.
    """
    height, width = frame_size([frame for frames in episodes for frame in frames])
    factor, axis = enlargement(height, width, _ANIMATED), 0 if vertically else 1
    gap = max(round(_GAP * height), 1)
    between = np.full((gap, width, 3) if vertically else (height, gap, 3), 255, np.uint8)
    found = []
    for moment in range(max(map(len, episodes))):
        parts = [part for frames in episodes for part in (between, frames[min(moment, len(frames) - 1)])]
        found.append(np.concatenate(parts[1:], axis=axis).repeat(factor, axis=0).repeat(factor, axis=1))
    return found


def _pictures(frames: Sequence[np.ndarray], longest: int) -> "list[Image]":
    """Frames as pictures of one size: shrunk if above ``longest``, enlarged by a whole factor if far below it."""
    with plotting():
        from PIL import Image
    height, width = frame_size(frames)
    scale = min(longest / max(height, width), enlargement(height, width, longest))
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    how = Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.NEAREST
    return [Image.fromarray(frame).resize(size, how) for frame in frames]


def _in_one_palette(pictures: "list[Image]") -> "list[Image]":
    """The pictures in 256 colours that suit sixteen of them, undithered, as the dots would move and compress badly."""
    from PIL import Image

    width, height = pictures[0].size
    sample = pictures[:: -(-len(pictures) // 16)]
    sheet = Image.new("RGB", (width, height * len(sample)))
    for row, picture in enumerate(sample):
        sheet.paste(picture, (0, row * height))
    palette = sheet.quantize(256, Image.Quantize.MEDIANCUT)
    return [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
