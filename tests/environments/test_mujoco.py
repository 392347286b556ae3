"""Gymnasium's MuJoCo environments: where they stand to the bit, what they do not say, and how they are drawn."""

import ctypes
import json
import os
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from run_contents import assert_same, everything, stopped_and_resumed

import tegu
from tegu.agents.recording import record
from tegu.check import check
from tegu.environments.adapters import mujoco as adapter
from tegu.environments.adapters.base import HostStep
from tegu.environments.adapters.gymnasium import GymnasiumEnvironments
from tegu.environments.make import find, make

mujoco = pytest.importorskip("mujoco")

TASKS = (
    *("Ant-v4", "Ant-v5", "HalfCheetah-v5", "Hopper-v5", "Humanoid-v4", "Humanoid-v5", "HumanoidStandup-v5"),
    *("InvertedDoublePendulum-v5", "InvertedPendulum-v5", "Pusher-v5", "Reacher-v5", "Swimmer-v5", "Walker2d-v5"),
)


def several(name: str, n: int = 2, **options: Any) -> Any:
    return find(name, options=options).environments([(7, i) for i in range(n)])


def acted(environments: Any, n_steps: int, seed: int) -> list[HostStep]:
    space = environments.action_space
    actions = np.random.default_rng(seed).uniform(space.low, space.high, (n_steps, len(environments), *space.shape))
    return [environments.step(action) for action in actions.astype(np.float32)]


@pytest.mark.filterwarnings("ignore:.*out of date:DeprecationWarning")
@pytest.mark.parametrize("name", TASKS)
def test_episodes_go_on_to_the_bit_from_where_they_stood(name: str) -> None:
    """Also through later ends, by falls and by a limit of time, which none of the steps before is taken again for."""
    one, other = (several(name, max_episode_steps=30) for _ in range(2))
    one.reset()
    seen = acted(one, 50, seed=0)[-1].observation
    arrays, data = one.snapshot()
    assert {array.dtype for array in arrays.values()} == {np.dtype(float)}
    assert 0 < max(data["taken"]) < 30
    copied = {key: array.copy() for key, array in arrays.items()}
    soon, then, later = acted(one, 8, seed=1), one.snapshot(), acted(one, 30, seed=2)
    assert any(now.over.any() for now in later)
    np.testing.assert_array_equal(other.restore(copied, json.loads(json.dumps(data)), seen), seen)
    again = acted(other, 8, seed=1)
    np.testing.assert_equal(other.snapshot(), then)  # in float64: observations hide what differs by little
    again += acted(other, 30, seed=2)
    for mine, theirs in zip(soon + later, again, strict=True):
        for first, second in zip(mine[:-1], theirs[:-1], strict=True):
            np.testing.assert_array_equal(first, second)


def test_the_bodies_places_are_part_of_it() -> None:
    """The Ant's reward counts from where its torso was before the last substep, which its joints do not say."""
    one, other = several("Ant-v5", 1), several("Ant-v5", 1)
    one.reset()
    seen = acted(one, 20, seed=0)[-1].observation
    arrays, data = one.snapshot()
    other.restore({**arrays, "state/0/xpos": arrays["state/0/xpos"] + 1.0}, data, seen)
    right, wrong = (acted(each, 1, seed=1)[0] for each in (one, other))
    np.testing.assert_array_equal(right.observation, wrong.observation)
    assert abs(right.reward - wrong.reward).item() > 1


def test_of_a_person_s_own_the_actions_are_saved() -> None:
    """They may have a state that MuJoCo does not know."""
    hopper = type(gymnasium.make("Hopper-v5").unwrapped)
    own = GymnasiumEnvironments(type("Own", (hopper,), {"__module__": "own"}), [(7, 0)])
    own.reset()
    acted(own, 1, seed=0)
    assert set(own.snapshot()[0]) == {"actions/0"}


@pytest.mark.parametrize("wrong", [None, np.zeros(3), np.zeros(40, np.float32)])
def test_a_state_that_does_not_fit_is_damaged(wrong: np.ndarray | None) -> None:
    environments = several("InvertedPendulum-v5", 1)
    environments.reset()
    seen = acted(environments, 1, seed=0)[-1].observation
    arrays, data = environments.snapshot()
    arrays = {name: array for name, array in arrays.items() if name != "state/0/integrated"}
    if wrong is not None:
        arrays["state/0/integrated"] = wrong
    with pytest.raises(tegu.TeguError, match="the checkpoint is damaged: of an environment's state integrated is not"):
        environments.restore(arrays, data, seen)


def test_notices_of_gymnasium_s_models_are_kept_from_a_person(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MuJoCo writes them to a file as well. What it says later is said as before."""
    monkeypatch.chdir(tmp_path)
    gymnasium.make("HalfCheetah-v5").close()
    noticed = capfd.readouterr().err
    for file in tmp_path.iterdir():
        file.unlink()
    make("HalfCheetah-v5").close()
    assert capfd.readouterr().err == ""
    assert not list(tmp_path.iterdir())
    gymnasium.make("HalfCheetah-v5").close()
    assert capfd.readouterr().err == noticed
    assert mujoco.get_mju_user_warning() is None


def test_tegu_check_finds_nothing_wrong() -> None:
    report = check(make("HalfCheetah-v5"), steps=50)
    assert not report.findings
    assert report.facts["time_limit"] == 1000


NAMES = ("MUJOCO_GL", "DISPLAY", "WAYLAND_DISPLAY")


@pytest.mark.parametrize(
    ("told", "libraries", "chosen"),
    [
        ({}, {"libEGL.so.1", "libOSMesa.so.8"}, "egl"),
        ({}, {"libOSMesa.so.8"}, "osmesa"),
        ({"MUJOCO_GL": "glfw"}, {"libEGL.so.1"}, "glfw"),
        ({"DISPLAY": ":0"}, {"libEGL.so.1"}, None),
        ({"WAYLAND_DISPLAY": "wayland-0"}, set(), None),
    ],
)
def test_what_draws_without_a_display(
    told: dict[str, str], libraries: set[str], chosen: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment_without_a_display(told, libraries, monkeypatch)
    adapter.choose_renderer()
    assert os.environ.get("MUJOCO_GL") == chosen


def test_where_nothing_can_draw_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    environment_without_a_display({}, set(), monkeypatch)
    with pytest.raises(tegu.TeguError, match=r"^MuJoCo needs a display to draw, or one of libEGL\.so\.1, libOSMesa"):
        make("Hopper-v5", render_mode="rgb_array")
    make("Hopper-v5").close()


def environment_without_a_display(told: dict[str, str], libraries: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str) -> None:
        if name not in libraries:
            raise OSError(name)

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", load)
    for name in NAMES:
        monkeypatch.setenv(name, told.get(name, ""))
        if name not in told:
            monkeypatch.delenv(name)


SETTINGS: dict[str, Any] = {"n_envs": 2, "steps": 800, "log_interval": 100, "checkpoint_every": 0.0}
SETTINGS |= {"environment_options": {"max_episode_steps": 70}, "net_arch": (4,)}


@pytest.mark.long
def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    settings = SETTINGS | {"n_steps": 50, "batch_size": 50, "n_epochs": 1}
    whole = tegu.train("HalfCheetah-v5", "ppo", folder=tmp_path / "whole", **settings).run
    halves = stopped_and_resumed("HalfCheetah-v5", "ppo", folder=tmp_path / "halves", **settings)
    assert_same(everything(halves), everything(whole))


@pytest.mark.long
def test_so_it_is_with_a_replay_buffer(tmp_path: Path) -> None:
    settings = SETTINGS | {"train_freq": 10, "learning_starts": 50, "gradient_steps": 2, "buffer_size": 300}
    whole = tegu.train("Humanoid-v5", "ddpg", folder=tmp_path / "whole", **settings).run
    halves = stopped_and_resumed("Humanoid-v5", "ddpg", folder=tmp_path / "halves", **settings)
    assert_same(everything(halves), everything(whole))


@pytest.mark.long
def test_an_episode_is_drawn_without_a_display(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a cheetah has joints: pictures differ from one another, and are not of one colour."""
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    try:
        adapter.choose_renderer()
    except tegu.TeguError:
        pytest.skip("nothing can draw here")
    settings = SETTINGS | {"steps": 100, "n_steps": 50, "batch_size": 50}
    agent = tegu.train("HalfCheetah-v5", "ppo", folder=None, **settings)
    episode = record(agent, max_steps=5)
    frames = episode.frames()
    assert episode.fps == 20
    assert {frame.shape for frame in frames} == {(480, 480, 3)}
    assert all(len(np.unique(frame)) > 50 for frame in frames)
    assert (frames[0] != frames[5]).any()
