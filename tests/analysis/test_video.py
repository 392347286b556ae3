"""Videos, judged by decoding them again."""

import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tegu.analysis import animation, frame_strip, video
from tegu.core.errors import TeguError
from tegu.runs import Run

COLOURS = [
    (255, 0, 0),
    (0, 255, 0),
    (0, 0, 255),
    (255, 255, 255),
    (0, 0, 0),
    (92, 186, 92),
    (213, 130, 74),
    (144, 72, 17),
]


def plain(height: int, width: int, colours=COLOURS) -> list[np.ndarray]:
    """A frame of each colour."""
    return [np.full((height, width, 3), colour, np.uint8) for colour in colours]


def decoded(path: Path) -> tuple[np.ndarray, dict[str, object]]:
    """Frames ``[time, height, width, 3]`` uint8, and what the file says of itself."""
    av = pytest.importorskip("av")
    with av.open(str(path)) as file:
        (stream,) = file.streams
        context = stream.codec_context
        said = {
            "codec": stream.codec.name,
            "pixels": stream.pix_fmt,
            "rate": stream.average_rate,
            "seconds": stream.duration * stream.time_base,
            "matrix": context.colorspace,
            "range": context.color_range,
        }
        return np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(stream)]), said


@pytest.fixture
def av():
    return pytest.importorskip("av")


@pytest.mark.parametrize(
    ("size", "shown"),
    [((10, 10), (480, 480)), ((210, 160), (420, 320)), ((400, 600), (400, 600)), ((301, 255), (302, 256))],
)
def test_every_frame_is_there_in_its_colour(av, size, shown, tmp_path):
    """Of the sizes of MinAtar, Atari, CartPole, and odd ones."""
    video(plain(*size), tmp_path / "new" / "a.mp4", fps=15)
    frames, said = decoded(tmp_path / "new" / "a.mp4")
    assert frames.shape == (len(COLOURS), *shown, 3)
    assert abs(frames - np.array(COLOURS)[:, None, None]).max() <= 4
    assert said == {
        "codec": "h264",
        "pixels": "yuv420p",
        "rate": 15,
        "seconds": Fraction(len(COLOURS), 15),
        "matrix": 1,  # BT.709 in ITU-T H.273
        "range": 1,  # luma of 16 to 235
    }


def test_small_pixels_become_squares_of_one_colour(av, tmp_path):
    """Each in its place, although the format keeps one colour for four pixels."""
    pictures = np.random.default_rng(0).integers(256, size=(3, 12, 9, 3), dtype=np.uint8)
    video(list(pictures), tmp_path / "a.mp4")
    frames, _ = decoded(tmp_path / "a.mp4")
    assert frames.shape == (3, 480, 360, 3)
    squares = frames.reshape(3, 12, 40, 9, 40, 3)[:, :, 8:32, :, 8:32].mean(axis=(2, 4))
    assert abs(squares - pictures).max() < 12


def test_the_last_row_and_column_of_odd_frames_are_there_twice(av, tmp_path):
    frame = np.zeros((301, 303, 3), np.uint8)
    frame[-1], frame[:, -1] = 255, 255
    video([frame], tmp_path / "a.mp4")
    ((shown,), _) = decoded(tmp_path / "a.mp4")
    assert shown.shape == (302, 304, 3)
    assert shown[-2:].min() > 200
    assert shown[:, -2:].min() > 200
    assert shown[:290, :290].max() < 50


@pytest.mark.parametrize(
    ("fps", "rate"), [(60 / 7, Fraction(60, 7)), (0.5, Fraction(1, 2)), (29.97, Fraction(2997, 100)), (1000, 1000)]
)
def test_speeds_are_exact(av, fps, rate, tmp_path):
    video(plain(32, 32), tmp_path / "a.mp4", fps)
    frames, said = decoded(tmp_path / "a.mp4")
    assert (len(frames), said["rate"]) == (len(COLOURS), rate)
    assert float(said["seconds"] * rate) == pytest.approx(len(COLOURS), abs=1e-2)


def test_a_browser_need_not_load_all_of_it_before_it_begins(av, tmp_path):
    """The index comes before the frames."""
    video(plain(64, 64), tmp_path / "a.mp4")
    content = (tmp_path / "a.mp4").read_bytes()
    assert 0 < content.index(b"moov") < content.index(b"mdat")


def test_the_same_frames_make_the_same_file(av, tmp_path):
    for name in ("a.mp4", "b.mp4"):
        video(plain(64, 64), tmp_path / name)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_file_that_cannot_be_finished_leaves_what_was_there(av, error, tmp_path, monkeypatch):
    path = tmp_path / "a.mp4"
    path.write_text("before")
    encoded = []

    def breaks(frame):
        assert path.read_text() == "before"
        if len(encoded) == 3:
            raise error
        encoded.append(frame)
        return frame

    monkeypatch.setattr(sys.modules["tegu.analysis.video"], "_even", breaks)
    with pytest.raises(KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else TeguError) as caught:
        video(plain(64, 64), path)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
    if caught.type is TeguError:
        assert str(caught.value) == f"cannot write {path}: No space left on device"


WRITERS = {"a.mp4": video, "a.gif": animation, "a.png": frame_strip}


@pytest.mark.parametrize("name", WRITERS)
def test_links_are_not_followed(name, tmp_path):
    """A link in a run is refused; one of a person's own is replaced, and what it leads to stays."""
    if name == "a.mp4":
        pytest.importorskip("av")
    target = tmp_path / "target"
    target.write_text("before")
    run = Run.create(tmp_path, "lizard", "q-learning", {})
    (run.path / name).symlink_to(target)
    with pytest.raises(TeguError, match="is a link, which is not followed"):
        WRITERS[name](plain(32, 32), run.path / name)
    own = tmp_path / name
    own.symlink_to(target)
    WRITERS[name](plain(32, 32), own)
    assert not own.is_symlink()
    assert target.read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["lizard", name, "target"])


def test_videos_that_cannot_be_are_one_line(tmp_path, monkeypatch):
    frames = plain(8, 8)
    with pytest.raises(TeguError, match=r"cannot write 'a.avi': the name must end in .mp4"):
        video(frames, tmp_path / "a.avi")
    with pytest.raises(TeguError, match="no frames"):
        video([], tmp_path / "a.mp4")
    with pytest.raises(TeguError, match="all of one size"):
        video([*frames, *plain(8, 10)], tmp_path / "a.mp4")
    for fps in (0, -1, float("nan"), float("inf"), 1e-6):
        with pytest.raises(TeguError, match=r"of a video must be from 0.001 to 1,000, got"):
            video(frames, tmp_path / "a.mp4", fps)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(TeguError, match=r"^videos need PyAV: pip install 'tegu\[video\]'$"):
        video(frames, tmp_path / "a.mp4")
    assert not list(tmp_path.iterdir())
