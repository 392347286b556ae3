"""Where environments of the host stand, saved and brought back: by a state of their own, or by actions."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
from gymnasium.wrappers import TimeLimit
from run_contents import assert_same, everything, half_way

import tegu
from tegu.environments.adapters.gymnasium import GymnasiumEnvironments
from tegu.runs import checkpoint

LIMIT = 37
SETTINGS: dict[str, Any] = {"n_envs": 2, "train_freq": 10, "learning_starts": 20, "batch_size": 8, "net_arch": [4]}
SETTINGS |= {"n_steps": 3, "buffer_size": 100, "steps": 400, "log_interval": 50}


class Drift(gymnasium.Env):
    """A number that moves by chance and by the action, for ever. It counts all steps that were ever taken."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,))
    action_space: gymnasium.Space = gymnasium.spaces.Discrete(3)
    taken: ClassVar[list[int]] = []  #: the step of its episode, for every step of every instance
    lengths: ClassVar[list[int]] = []  #: of the episodes that were left by a reset

    def __init__(self) -> None:
        self.time, self.place, self.chance = 0, 0.0, 1

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        if self.time:
            Drift.lengths.append(self.time)
        self.time, self.place, self.chance = 0, 0.0, (seed or 0) % 2**31 + 1
        return self.seen(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.time += 1
        Drift.taken.append(self.time)
        self.chance = self.chance * 48271 % (2**31 - 1)
        self.place += float(np.sum(action)) - 1 + self.chance / 2**31
        return self.seen(), -abs(self.place), False, False, {}

    def seen(self) -> np.ndarray:
        return np.array([self.place, self.time], np.float32)


class Sitting(Drift):
    """The same, able to say where it stands."""

    def save_state(self) -> dict[str, np.ndarray]:
        return {"time": np.array(self.time), "place": np.array(self.place), "chance": np.array(self.chance)}

    def load_state(self, arrays: dict[str, np.ndarray]) -> None:
        self.time, self.place, self.chance = int(arrays["time"]), float(arrays["place"]), int(arrays["chance"])


def sitting() -> gymnasium.Env:
    return TimeLimit(Sitting(), LIMIT)


def moving() -> gymnasium.Env:
    return TimeLimit(Drift(), LIMIT)


@pytest.fixture(autouse=True)
def _nothing_counted() -> None:
    Drift.taken.clear()
    Drift.lengths.clear()


@pytest.mark.slow
@pytest.mark.parametrize(("make", "by_itself"), [(sitting, True), (moving, False)])
def test_a_stopped_run_goes_on_in_the_middle_of_an_episode(
    make: Callable[[], gymnasium.Env], by_itself: bool, tmp_path: Path
) -> None:
    """Who can save its state takes no step twice; of others the running episodes are played again. The limit of time
    holds over the break either way."""
    whole = tegu.train(make, "dqn", folder=tmp_path / "whole", **SETTINGS)
    assert (len(Drift.taken), set(Drift.lengths)) == (400, {LIMIT})
    ended = len(Drift.lengths)
    assert ended == 2 * (200 // LIMIT)
    Drift.taken.clear()
    Drift.lengths.clear()

    stopped = tegu.train(make, "dqn", folder=tmp_path / "stopped", callbacks=(half_way,), **SETTINGS)
    assert stopped.run is not None
    assert whole.run is not None
    each = stopped.steps // 2
    assert each % LIMIT
    saved = checkpoint.load_latest(stopped.run.checkpoints)
    episodes = saved.blobs["episodes-0"]
    if by_itself:
        assert set(episodes) == {f"state/{i}/{name}" for i in range(2) for name in ("time", "place", "chance")}
    else:
        assert {name: array.shape for name, array in episodes.items()} == {
            f"actions/{i}": (each % LIMIT,) for i in range(2)
        }
    Drift.taken.clear()

    tegu.resume(stopped.run, environment=make)
    again = 0 if by_itself else 2 * (each % LIMIT)
    assert len(Drift.taken) == 400 - stopped.steps + again
    assert (Drift.taken[0] == 1) == (not by_itself)
    assert max(Drift.taken) == LIMIT
    assert Drift.lengths == [LIMIT] * ended
    assert_same(everything(stopped.run), everything(whole.run))


class Wrapped(gymnasium.Wrapper):
    """Something that may have a state of its own."""


def test_a_wrapper_that_is_not_known_hides_what_the_environment_can_say() -> None:
    environments = GymnasiumEnvironments(lambda: Wrapped(sitting()), [(1, 0)])
    environments.reset()
    environments.step(np.array([2]))
    arrays, _ = environments.snapshot()
    assert set(arrays) == {"actions/0"}


@pytest.mark.long
def test_a_long_episode_is_saved_as_arrays(tmp_path: Path) -> None:
    """100,000 actions: none of them is in the manifest, and they lead back to where they led."""
    steps = 100_000
    environments = GymnasiumEnvironments(Drift, [(5, 0)])
    environments.reset()
    actions = np.random.default_rng(0).integers(3, size=(steps, 1))
    for action in actions:
        now = environments.step(action)
    arrays, data = environments.snapshot()
    np.testing.assert_array_equal(arrays["actions/0"], actions[:, 0])
    assert len(json.dumps(data)) < 100
    path = checkpoint.save(tmp_path, steps, {"episodes": arrays}, {"data": data})
    assert (path / "manifest.json").stat().st_size < 10_000
    assert (path / "episodes.safetensors").stat().st_size < 10 * steps

    saved = checkpoint.load_latest(tmp_path)
    other = GymnasiumEnvironments(Drift, [(5, 0)])
    Drift.taken.clear()
    found = other.restore(saved.blobs["episodes"], saved.state["data"], observation=None)
    assert len(Drift.taken) == steps
    np.testing.assert_array_equal(found, now.observation)
    np.testing.assert_equal(other.step(np.array([2])), environments.step(np.array([2])))
    assert other.snapshot()[0]["actions/0"].shape == (steps + 1,)


@pytest.mark.parametrize(
    "space",
    [
        gymnasium.spaces.Box(-1, 1, (2,)),
        gymnasium.spaces.MultiDiscrete([3, 4]),
        gymnasium.spaces.Discrete(3, start=-1),
    ],
    ids=str,
)
def test_actions_of_every_kind_come_back_as_they_were(space: gymnasium.Space, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Drift, "action_space", space)
    space.seed(3)
    one, other = (GymnasiumEnvironments(Drift, [(5, 0), (5, 1)]) for _ in range(2))
    one.reset()
    for _ in range(20):
        now = one.step(np.stack([np.asarray(space.sample()) for _ in range(2)]))
    found = other.restore(*one.snapshot(), observation=None)
    np.testing.assert_array_equal(found, now.observation)
    np.testing.assert_equal(other.snapshot(), one.snapshot())


def test_a_checkpoint_without_the_actions_it_speaks_of_is_damaged() -> None:
    environments = GymnasiumEnvironments(Drift, [(5, 0)])
    environments.reset()
    environments.step(np.array([1]))
    _, data = environments.snapshot()
    with pytest.raises(tegu.TeguError, match="the checkpoint is damaged: actions/0 does not hold 1 actions"):
        environments.restore({}, data, observation=None)
