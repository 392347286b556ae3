"""The checker on environments that observe goals: silent on what is sound, clear on what hindsight would get wrong."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest
from gymnasium import spaces

import tegu
from tegu.check import check
from tegu.environments.goals.bit_flip import BitFlip


def read(environment: Any) -> str:
    """The whole text of all findings."""
    return "\n".join(map(str, check(environment, steps=40).findings))


def test_bit_flipping_has_no_findings() -> None:
    assert read(BitFlip(4)) == ""


class Broken(BitFlip):
    """Bit flipping with one thing wrong."""

    wrong: str = eqx.field(static=True, kw_only=True)

    @property
    def observation_space(self) -> spaces.Dict:
        return spaces.Dict(self.named(super().observation_space.spaces))

    def named(self, parts: dict[str, Any]) -> dict[str, Any]:
        return {"goal" if name == self.wrong else name: part for name, part in parts.items()}

    def reset(self, key: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        state, seen = super().reset(key)
        return state, self.named(seen)

    def step(self, state: jax.Array, action: jax.Array, key: jax.Array) -> tegu.Timestep:
        now = BitFlip(self.n_bits).step(state, action, key)
        reward = now.reward - (0.1 * action if self.wrong == "price" else 0)
        return tegu.Timestep(now.state, self.named(now.observation), reward, now.terminated & (self.wrong != "goes on"))

    def compute_reward(self, achieved_goal: jax.Array, desired_goal: jax.Array) -> jax.Array:
        paid = super().compute_reward(achieved_goal, desired_goal)
        return paid[None] if self.wrong == "shape" else paid

    def compute_terminated(self, achieved_goal: jax.Array, desired_goal: jax.Array) -> jax.Array:
        there = super().compute_terminated(achieved_goal, desired_goal)
        return jnp.float32(there) if self.wrong == "type" else there


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("achieved_goal", "observation_space: is not that of a GoalEnvironment\n  expected  a Dict of observation, "),
        ("shape", "is not the scalar it should be\n  expected  float32[]\n  got       float32[1]"),
        ("type", "is not the scalar it should be\n  expected  bool[]\n  got       float32[]"),
        ("price", "step() -> reward: is not what compute_reward() says of its goals\n  expected  -1"),
        ("goes on", "step() -> terminated: is not what compute_terminated() says of its goals\n  expected  True"),
    ],
    ids=lambda given: given.splitlines()[0],
)
def test_what_is_wrong_is_named(wrong: str, says: str) -> None:
    assert says in read(Broken(3, wrong=wrong))
