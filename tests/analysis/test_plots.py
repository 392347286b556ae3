"""Pictures, judged by what is drawn in them and by reading the files back."""

import itertools
import math
import re
import sys

import numpy as np
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex
from matplotlib.text import Text
from PIL import Image

from tegu.analysis import animation, curves, frame_strip, iqm, plot_comparison, plot_curves, sparkline
from tegu.analysis.plots import COLOURS, _compact, _spread, _style
from tegu.core.errors import TeguError
from tegu.runs import Run


@pytest.fixture
def make(tmp_path):
    def make(n, environment="CartPole-v1", algorithm="ppo", final=100.0, **hyper):
        run = Run.create(tmp_path, environment, algorithm, {"hyper_parameters": hyper})
        rng = np.random.default_rng(n)
        with run.metrics() as metrics:
            for step in range(0, 50_001, 5000):
                values = final * step / 50_000 + rng.normal(size=n)
                metrics.write(step, {s: {"rollout/ep_rew_mean": values[s], "train/loss": 1.0} for s in range(n)})
        return run

    return make


def bands(ax):
    return [item for item in ax.collections if isinstance(item, PolyCollection)]


def texts(ax):
    return [text.get_text() for text in ax.texts]


def test_five_seeds_have_a_line_and_a_band(make, tmp_path):
    (group,) = curves([make(5)])
    (ax,) = plot_comparison([group], tmp_path / "a.png").axes
    (line,), (band,) = ax.lines, bands(ax)
    np.testing.assert_array_equal(line.get_ydata(), group.values.mean(axis=0))
    inside = band.get_paths()[0].vertices
    assert inside[:, 1].min() < line.get_ydata().min()
    assert inside[:, 1].max() > line.get_ydata().max()
    assert texts(ax) == ["ppo\nmean, 95% CI, n=5"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("environment steps", "episode return")
    assert ax.xaxis.get_major_formatter()(50_000) == "50k"


def test_the_interquartile_mean_is_called_so(make, tmp_path):
    (group,) = curves([make(8)])
    (ax,) = plot_comparison([group], tmp_path / "a.png", statistic="iqm").axes
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), iqm(group.values))
    assert texts(ax) == ["ppo\nIQM, 95% CI, n=8"]


@pytest.mark.parametrize(
    ("n", "lines", "label"), [(1, 1, "ppo\nn=1"), (2, 3, "ppo\nmean, n=2"), (3, 4, "ppo\nmean, n=3")]
)
def test_few_seeds_are_lines_without_a_band(make, tmp_path, n, lines, label):
    (ax,) = plot_comparison(curves([make(n)]), tmp_path / "a.png").axes
    assert len(ax.lines) == lines
    assert not bands(ax)
    assert texts(ax) == [label]


def test_a_panel_per_environment_and_a_colour_per_label(make, tmp_path):
    runs = [make(5), make(5, algorithm="dqn"), make(5, "Acrobot-v1", "dqn"), make(5, "Acrobot-v1", "sac")]
    figure = plot_comparison(curves(runs), tmp_path / "a.png")
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["CartPole-v1", "Acrobot-v1"]
    colours = [{line.get_label(): to_hex(line.get_color()).upper() for line in ax.lines} for ax in figure.axes]
    assert colours == [{"ppo": COLOURS[0], "dqn": COLOURS[1]}, {"dqn": COLOURS[1], "sac": COLOURS[2]}]
    assert figure.axes[0].lines[0].get_linestyle() != figure.axes[0].lines[1].get_linestyle()


def test_labels_lie_clear_of_each_other_and_within_the_picture(make, tmp_path):
    runs = [make(5, learning_rate=10.0**-power, network="x" * power) for power in range(1, 13)]
    figure = plot_comparison(curves(runs), tmp_path / "a.png")
    (ax,) = figure.axes
    boxes = sorted((Text.get_window_extent(text) for text in ax.texts), key=lambda box: box.y0)  # without its line
    assert len(boxes) == 12
    assert all(below.y1 <= above.y0 for below, above in itertools.pairwise(boxes))
    assert boxes[0].y0 >= 0
    assert boxes[-1].y1 <= figure.bbox.height
    assert max(box.x1 for box in boxes) <= figure.bbox.width


def test_a_diverged_group_leaves_the_others_to_be_seen(make, tmp_path):
    diverged = make(5, algorithm="dqn", final=math.nan)
    (ax,) = plot_comparison(curves([make(5), diverged]), tmp_path / "a.png").axes
    assert texts(ax) == ["ppo\nmean, 95% CI, n=5", "dqn\nmean, 95% CI, n=5"]


@pytest.mark.parametrize(
    ("suffix", "start"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF"), (".PNG", b"\x89PNG")]
)
def test_the_suffix_decides_the_format(make, tmp_path, suffix, start):
    path = tmp_path / "new" / f"a{suffix}"
    plot_comparison(curves([make(2)]), path)
    assert path.read_bytes().startswith(start)


def test_the_colours_are_in_the_file(make, tmp_path):
    plot_comparison(curves([make(5)]), tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    blue = np.array([0x00, 0x72, 0xB2])
    assert (pixels == blue).all(axis=1).sum() > 500
    assert (pixels == 255).all(axis=1).mean() > 0.5


def test_curve_figure_shows_every_seed_and_metric(make, tmp_path):
    figure = plot_curves(make(5), tmp_path / "a.png", ["rollout/ep_rew_mean", "train/loss"])
    assert [len(ax.lines) for ax in figure.axes] == [6, 6]
    assert [ax.get_ylabel() for ax in figure.axes] == ["episode return", "train/loss"]
    assert figure.axes[0].get_title(loc="left") == "CartPole-v1/ppo/1"
    assert figure.axes[0].get_title(loc="right") == "mean of 5 seeds, each thin"
    with pytest.raises(TeguError, match="no metric 'x'"):
        plot_curves(make(1), tmp_path / "b.png", ["x"])


def test_the_curve_of_evaluations_is_beside_that_of_training(make, tmp_path):
    run = make(2)
    with run.metrics() as metrics:
        for step in (10_000, 50_000):
            metrics.write(step, {seed: {"eval/mean_reward": 500.0} for seed in range(2)})
    (ax,) = plot_curves(run, tmp_path / "a.png").axes
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["while training", "evaluation, deterministic policy"]
    assert max(line.get_ydata().max() for line in ax.lines) == 500


def test_what_cannot_be_drawn_is_one_line(make, tmp_path):
    groups = curves([make(1)])
    with pytest.raises(TeguError, match="no runs to plot"):
        plot_comparison([], tmp_path / "a.png")
    with pytest.raises(TeguError, match=r"cannot write 'a.bmp': the name must end in .png or .svg or .pdf"):
        plot_comparison(groups, tmp_path / "a.bmp")
    (tmp_path / "file").touch()
    with pytest.raises(TeguError, match=r"cannot write .*a.png: .*file is not a folder$"):
        plot_comparison(groups, tmp_path / "file" / "a.png")


def test_without_matplotlib_and_pillow_it_says_what_to_install(make, tmp_path, monkeypatch):
    groups = curves([make(1)])
    for name in ("matplotlib.figure", "PIL"):
        monkeypatch.setitem(sys.modules, name, None)
    for draw in (
        lambda: plot_comparison(groups, tmp_path / "a.png"),
        lambda: frame_strip(frames(1), tmp_path / "a.png"),
        lambda: animation(frames(1), tmp_path / "a.gif"),
    ):
        with pytest.raises(TeguError, match=re.escape("pip install 'tegu[plot]'")):
            draw()


def test_thirty_two_styles_differ():
    assert len({_style(index) for index in range(32)}) == 32


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (250, "250"), (1500, "1.5k"), (-2e6, "-2M"), (2.5e9, "2.5G"), (0.25, "0.25")]
)
def test_ticks_are_short(value, text):
    assert _compact(value) == text


def test_spread_moves_only_what_collides():
    np.testing.assert_allclose(_spread(np.array([0.9, 0.1, 0.5]), np.full(3, 0.2)), [0.9, 0.1, 0.5])
    np.testing.assert_allclose(_spread(np.array([0.95, 0.95]), np.full(2, 0.2)), [0.7, 0.9])


@pytest.mark.parametrize(
    ("values", "width", "line"),
    [
        ([0, 1, 2, 3, 4, 5, 6, 7], 40, "▁▂▃▄▅▆▇█"),
        ([0, 0, 7, 7], 2, "▁█"),
        ([0, math.nan, 7, math.inf], 4, "▁ █ "),
        ([5, 5], 4, "▄▄"),
        ([math.nan], 4, " "),
        ([], 4, ""),
    ],
)
def test_sparkline(values, width, line):
    assert sparkline(values, width) == line


def test_sparkline_in_ascii():
    assert sparkline(range(16), 8, ascii=True) == "_.:-=+*#"
    assert sparkline(range(1000), 30, ascii=True).isascii()
    assert len(sparkline(range(1000), 30)) == 30


def frames(n, height=200, width=300):
    """A white square that moves to the right over a colour gradient."""
    gradient = np.linspace(0, 200, width, dtype=np.uint8)
    picture = np.broadcast_to(gradient[None, :, None], (height, width, 3)) // np.array([1, 2, 3], np.uint8)
    result = [picture.astype(np.uint8) for _ in range(n)]
    for number, frame in enumerate(result):
        frame[50:80, 4 * number : 4 * number + 30] = 255
    return result


def test_frame_strip_shows_the_first_and_the_last_frame(tmp_path):
    shots = [np.full((120, 160, 3), number, np.uint8) for number in range(101)]
    frame_strip(shots, tmp_path / "a.png", columns=3, rows=2)
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size == (3 * 168 + 8, 2 * 150 + 8)
        shown = [picture.getpixel((50 + 168 * column, 50 + 150 * row))[0] for row in (0, 1) for column in range(3)]
    assert shown == [0, 20, 40, 60, 80, 100]


def test_frame_strip_of_few_frames_shows_each_once(tmp_path):
    frame_strip(frames(2, 10, 10), tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size == (2 * (240 + 8) + 8, 240 + 22 + 16)


def test_frame_strip_says_the_return_so_far(tmp_path):
    """In the caption and nowhere else, and other returns look otherwise."""
    shots, sheets = frames(4), []
    for number, returns in enumerate((None, [0.0, 1.0, 1.0, -2.5], [0.0, 1.0, 1.0, 7.0])):
        frame_strip(shots, tmp_path / f"{number}.png", columns=4, returns=returns)
        with Image.open(tmp_path / f"{number}.png") as picture:
            sheets.append(np.asarray(picture).astype(int))
    height, width = 160 + 2 * 8 + 22, 240 + 8
    assert {sheet.shape for sheet in sheets} == {(height, 4 * width + 8, 3)}
    plain, said, other = sheets
    changed = abs(said - plain).max(axis=2) > 0
    assert not changed[: 160 + 8].any()
    assert all(changed[:, width * i : width * (i + 1)].any() for i in range(4))
    assert [(said != other)[:, width * i : width * (i + 1)].any() for i in range(4)] == [False, False, False, True]


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
@pytest.mark.parametrize("fps", [30, 7])
def test_animation_keeps_frames_and_speed_and_loops(tmp_path, suffix, fps):
    path = tmp_path / f"a{suffix}"
    animation(frames(21), path, fps)
    with Image.open(path) as picture:
        assert (picture.n_frames, picture.size, picture.info["loop"]) == (21, (300, 200), 0)
        total = 0
        for number in range(21):
            picture.seek(number)
            picture.load()
            total += picture.info["duration"]
        assert total == pytest.approx(21_000 / fps, abs=5)
        last = np.asarray(picture.convert("RGB")).astype(int)
    np.testing.assert_allclose(last, frames(21)[-1], atol=40)
    assert path.stat().st_size < 200_000


def test_a_gif_of_many_frames_per_second_leaves_some_out(tmp_path):
    animation(frames(20), tmp_path / "a.gif", 100)
    with Image.open(tmp_path / "a.gif") as picture:
        assert (picture.n_frames, picture.info["duration"]) == (10, 20)


def test_large_frames_are_shrunk(tmp_path):
    animation(frames(2, 600, 1200), tmp_path / "a.webp")
    with Image.open(tmp_path / "a.webp") as picture:
        assert picture.size == (480, 240)


def test_animations_that_cannot_be_are_one_line(tmp_path):
    with pytest.raises(TeguError, match=r"cannot write 'a.mp4': the name must end in .gif or .webp"):
        animation(frames(2), tmp_path / "a.mp4")
    with pytest.raises(TeguError, match="no frames"):
        animation([], tmp_path / "a.gif")
    with pytest.raises(TeguError, match="no frames"):
        frame_strip([], tmp_path / "a.png")
    with pytest.raises(TeguError, match="above 0"):
        animation(frames(2), tmp_path / "a.gif", 0)
    with pytest.raises(TeguError, match=r"got \(4, 4\) float64"):
        animation([np.zeros((4, 4))], tmp_path / "a.gif")
    with pytest.raises(TeguError, match="all of one size"):
        animation([*frames(1), *frames(1, 100)], tmp_path / "a.gif")
