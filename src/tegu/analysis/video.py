"""Videos that browsers play."""

from collections.abc import Sequence
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from tegu.analysis.output import checked_path, enlargement, frame_size, written
from tegu.core.errors import TeguError

_LONGEST = 480  # pixels: how long the longer side of small frames becomes at most
_SLOWEST, _FASTEST = 0.001, 1000.0  # frames per second
_QUALITY = {"crf": "18"}  # constant quality that is hardly told from the frames themselves


def can_write_videos() -> bool:
    """Whether PyAV is installed."""
    return find_spec("av") is not None


def require_video() -> None:
    """Raise ``TeguError`` that says what to install, if videos cannot be written."""
    if not can_write_videos():
        raise TeguError("videos need PyAV: pip install 'tegu[video]'")


def video(frames: Sequence[np.ndarray], path: Path | str, fps: float = 30.0) -> None:
    """Write frames ``[height, width, 3]`` uint8 as a .mp4 in H.264 that browsers play, even before all of it is loaded.

    All frames are there, at their size; small ones are enlarged by a whole factor, which keeps pixels sharp. Sides must
    be even, so where one is odd its last row or column is there twice.
    """
    path = checked_path(path, ".mp4")
    height, width = frame_size(frames)
    if not _SLOWEST <= fps <= _FASTEST:
        raise TeguError(f"frames per second of a video must be from {_SLOWEST:g} to {_FASTEST:,g}, got {fps}")
    require_video()
    import av
    from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc

    factor = enlargement(height, width, _LONGEST)
    try:
        with (
            written(path) as temporary,
            av.open(str(temporary), "w", format="mp4", options={"movflags": "+faststart"}) as file,
        ):
            stream = file.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001), options=_QUALITY)
            stream.height, stream.width = (factor * side + factor * side % 2 for side in (height, width))
            stream.pix_fmt = "yuv420p"
            # untagged, players guess from the size by which matrix the colours became luma and chroma
            context = stream.codec_context
            context.colorspace, context.color_range = Colorspace.ITU709, ColorRange.MPEG
            context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
            for frame in frames:
                picture = av.VideoFrame.from_ndarray(_even(frame.repeat(factor, axis=0).repeat(factor, axis=1)))
                picture = picture.reformat(
                    format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
                )
                file.mux(stream.encode(picture))
            file.mux(stream.encode(None))
    except av.FFmpegError as error:
        raise TeguError(f"cannot write {path}: {error.strerror}") from error


def _even(frame: np.ndarray) -> np.ndarray:
    """The frame ``[height, width, 3]`` with the last row or column once more where there is an odd number of them."""
    height, width, _ = frame.shape
    return np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
