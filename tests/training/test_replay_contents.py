"""What reaches ``update`` through the replay buffer, in both loops: what ``take`` keeps, in windows of one episode's
neighbours."""

from typing import Any, NamedTuple

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces
from metronome import Only

import tegu
from tegu.algorithms.base import Algorithm, named
from tegu.core.step import Decision
from tegu.environments.base import Environment, Timestep
from tegu.experience.base import Replay

SEEN = spaces.Box(-np.inf, np.inf, (2,))  # a number of the episode's own, and the time in it


class Diary(Environment):
    """Shows which episode this is and how old it is; about every fifth step ends one."""

    id: str = eqx.field(static=True, kw_only=True, default="diary")

    @property
    def observation_space(self) -> spaces.Box:
        return SEEN

    @property
    def action_space(self) -> spaces.Discrete:
        return spaces.Discrete(2)

    def reset(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        state = jnp.stack([jax.random.uniform(key), jnp.zeros(())])
        return state, state

    def step(self, state: jax.Array, action: jax.Array, key: jax.Array) -> Timestep:
        state = state + jnp.array([0.0, 1.0])
        return Timestep(state, state, jnp.ones(()), jax.random.bernoulli(key, 0.2))


class HostDiary(gymnasium.Env):
    """The same on the host."""

    observation_space, action_space = SEEN, spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.state = np.array([self.np_random.random(), 0], np.float32)
        return self.state, {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.state = self.state + np.float32([0, 1])
        return self.state, 1.0, bool(self.np_random.random() < 0.2), False, {}


class Kept(NamedTuple):
    seen: jax.Array
    next_seen: jax.Array
    ended: jax.Array
    doubled: jax.Array  #: twice the reward


class Reader(Algorithm):
    """Says how often a window was not what it should be."""

    name: str = named("reader")

    n_steps: int = eqx.field(static=True, default=3)
    train_freq: int = eqx.field(static=True, default=6)
    learning_starts: int = eqx.field(static=True, default=0)

    @property
    def experience(self):
        return Replay(40, 16, self.learning_starts, self.train_freq, 2, self.n_steps)

    def init(self, key, spec):
        return Only.start()

    def act(self, learner, observation, memory, key, *, explore):
        return Decision(jnp.zeros(len(observation), jnp.int32), memory)

    def take(self, learner, steps):
        return learner, Kept(steps.observation, steps.next_observation, steps.terminated, 2 * steps.reward)

    def update(self, learner, batch, key):
        assert isinstance(batch.rows, Kept)
        assert batch.weight.shape == (16,)
        windows = batch.rows if self.n_steps > 1 else jax.tree.map(lambda leaf: leaf[None], batch.rows)
        assert windows.seen.shape == (self.n_steps, 16, 2)
        before, after = windows.next_seen[:-1], windows.seen[1:]
        goes_on = (before == after).all(axis=-1)
        begins = (after[..., 1] == 0) & (before[..., 0] != after[..., 0])
        right = jnp.where(windows.ended[:-1], begins, goes_on)
        return learner.reporting(
            {
                "wrong": (~right).sum().astype(jnp.float32),
                "ended": windows.ended.mean(),
                "doubled": windows.doubled.mean(),
                "weight": batch.weight.mean(),
                "written": (windows.next_seen[..., 1] > 0).mean(),
            }
        )


worlds = pytest.mark.parametrize("environment", [Diary(), HostDiary], ids=["fused", "host"])


def figures(environment: Any, algorithm: Algorithm, **settings: Any) -> list[dict[str, float]]:
    found: list[dict[str, float]] = []
    settings = {"steps": 240, "log_interval": 1, "n_envs": 3, "folder": None} | settings
    tegu.train(environment, algorithm, callbacks=(lambda progress: found.extend(progress.metrics),), **settings)
    return [figure for figure in found if "train/wrong" in figure]


@worlds
@pytest.mark.parametrize("n_steps", [2, 3])
def test_windows_are_steps_of_one_environment_in_order(environment: Any, n_steps: int) -> None:
    """Where no episode ends the next step begins where the last one led to, else a new episode begins; before the
    buffer of 40 rows is full and long after."""
    found = figures(environment, Reader(n_steps=n_steps))
    assert len(found) > 30
    assert all(figure["train/wrong"] == 0 for figure in found)
    assert 0 < np.mean([figure["train/ended"] for figure in found]) < 1


@worlds
def test_what_take_makes_of_the_steps_is_what_is_learned_from(environment: Any) -> None:
    found = figures(environment, Reader())
    assert found
    assert all(figure["train/doubled"] == 2 for figure in found)
    assert all(figure["train/weight"] == 1 for figure in found)


@worlds
@pytest.mark.parametrize("train_freq", [1, 2, 4])
def test_nothing_is_learned_before_there_is_a_window(environment: Any, train_freq: int) -> None:
    """Of three steps, though learning may start before; no row is drawn that was never written."""
    found = figures(environment, Reader(train_freq=train_freq, learning_starts=1), n_envs=1, steps=24)
    assert found
    assert all(figure["train/written"] == 1 for figure in found)
