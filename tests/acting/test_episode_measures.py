"""Measures of whole episodes, which evaluations ask for once, by the last state of each."""

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tegu
from tegu.acting.evaluation import JaxEvaluator
from tegu.core.schedule import Clock
from tegu.core.step import Decision


class Countdown(tegu.Environment):
    """A matrix and a key come along; the episode ends when a number of steps drawn at its beginning is done."""

    id: str = eqx.field(static=True, kw_only=True, default="countdown")
    max_episode_steps: int | None = eqx.field(static=True, kw_only=True, default=7)

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,))
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, key):
        left = jax.random.randint(key, (), 1, 12)
        return {"left": left, "done": jnp.zeros((2, 3)), "key": key}, left[None].astype(jnp.float32)

    def step(self, state, action, key):
        state = state | {"left": state["left"] - 1, "done": state["done"] + 1, "key": key}
        return tegu.Timestep(state, state["left"][None].astype(jnp.float32), jnp.float32(1), state["left"] == 0)

    def measures(self, state):
        return {"left": state["left"].astype(jnp.float32)}

    def episode_measures(self, state):
        return {"done": state["done"].mean(), "overtime": (state["left"] < 0).astype(jnp.float32)}


class First(eqx.Module):
    """Always the first action."""

    def at(self, clock):
        return self

    def begin(self, learner, key, n):
        return jnp.zeros(n)

    def act(self, learner, observation, memory, key, *, explore):
        return Decision(jnp.zeros(len(observation), jnp.int32), memory)

    def expected_return(self, learner, observation, memory):
        return None


def test_they_are_of_the_state_in_which_each_episode_ended():
    """Also of those that ended before others, or by the clock."""
    evaluation = JaxEvaluator(First(), Countdown(), [0, 1], 30, True)(jnp.zeros(2), Clock.of(0, 1))
    assert set(evaluation.measures) == {"left/mean", "left/end", "done/end", "overtime/end"}
    np.testing.assert_array_equal(evaluation.measures["done/end"], evaluation.lengths)
    assert set(np.unique(evaluation.lengths)) == {1, 2, 3, 4, 5, 6, 7}
    assert not evaluation.measures["overtime/end"].any()
    assert (evaluation.measures["left/end"] > 0).any()


@pytest.mark.slow
def test_evaluations_while_training_log_all_measures(tmp_path):
    """Each seed's means over the episodes, as an evaluation of the last policy finds them."""
    small = {"n_envs": 2, "n_steps": 16, "batch_size": 32, "n_epochs": 1, "net_arch": [4]}
    agent = tegu.train(Countdown(), "ppo", steps=64, seeds=2, eval_every=32, eval_episodes=9, folder=tmp_path, **small)
    found = agent.evaluate(9).measures
    with agent.run.metrics() as store:
        assert {f"eval/{name}" for name in found} <= set(store.names())
        for name, values in found.items():
            for seed in (0, 1):
                steps, means = store.read(f"eval/{name}", seed)
                np.testing.assert_array_equal(steps, [32, 64])
                assert means[-1] == float(values[seed].mean())
