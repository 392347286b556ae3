"""Bit flipping: turn bits into those that are desired. Of many bits nothing is ever learned without hindsight."""

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from tegu.core.errors import TeguError
from tegu.environments.base import Timestep
from tegu.environments.drawing import GREEN, INK, PAPER, RED, Canvas
from tegu.environments.goals.base import GoalEnvironment


class BitFlip(GoalEnvironment):
    """The bit-flipping environment of hindsight experience replay's paper (Andrychowicz et al. 2017, section 3.1).

    ``n_bits`` bits and as many desired ones, both random. Action ``i`` flips bit ``i``. A step pays 0 if all bits are
    then as desired, which ends the episode, and -1 otherwise; after ``n_bits`` steps an episode is cut. The state is
    int8 ``[2, n_bits]``: the bits, and the desired ones.
    """

    n_bits: int = eqx.field(static=True, default=15)
    id: str = eqx.field(static=True, kw_only=True, default="BitFlip-v0")
    max_episode_steps: int | None = eqx.field(static=True, init=False)

    def __post_init__(self) -> None:
        if isinstance(self.n_bits, bool) or not isinstance(self.n_bits, int) or self.n_bits < 1:
            raise TeguError(f"{self.id}: n_bits must be a whole number from 1, got {self.n_bits!r}")
        self.max_episode_steps = self.n_bits

    @property
    def observation_space(self) -> gymnasium.spaces.Dict:
        bits = gymnasium.spaces.MultiBinary(self.n_bits)
        return gymnasium.spaces.Dict(observation=bits, achieved_goal=bits, desired_goal=bits)

    @property
    def action_space(self) -> gymnasium.spaces.Discrete:
        return gymnasium.spaces.Discrete(self.n_bits)

    def reset(self, key: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        state = jax.random.bernoulli(key, shape=(2, self.n_bits)).astype(jnp.int8)
        return state, _seen(state)

    def step(self, state: jax.Array, action: jax.Array, key: jax.Array) -> Timestep:
        state = state.at[0, action].set(1 - state[0, action])
        bits, desired = state
        return Timestep(state, _seen(state), self.compute_reward(bits, desired), self.compute_terminated(bits, desired))

    def compute_reward(self, achieved_goal: jax.Array, desired_goal: jax.Array) -> jax.Array:
        return self.compute_terminated(achieved_goal, desired_goal).astype(jnp.float32) - 1

    def compute_terminated(self, achieved_goal: jax.Array, desired_goal: jax.Array) -> jax.Array:
        return (achieved_goal == desired_goal).all()

    def measures(self, state: jax.Array) -> dict[str, jax.Array]:
        return {"is_success": self.compute_terminated(*state).astype(jnp.float32)}

    def image(self, state: np.ndarray) -> np.ndarray:
        """The bits above the desired ones, dark where set; between them green where both agree, else red."""
        width, height = 600, 200
        cell = (width - 40) / self.n_bits
        canvas = Canvas(width, height, PAPER)
        for column, (bit, desired) in enumerate(zip(*state, strict=True)):
            left, right = 20 + (column + 0.06) * cell, 20 + (column + 0.94) * cell
            for top, value in ((20, bit), (120, desired)):
                canvas.rectangle((left, top, right, top + 60), INK if value else (222, 222, 216), radius=cell / 10)
            canvas.rectangle((left, 92, right, 108), GREEN if bit == desired else RED)
        return canvas.array()

    def text(self, state: np.ndarray) -> str:
        bits, desired = ("".join(str(int(bit)) for bit in row) for row in state)
        wrong = "".join(" " if bit == goal else "^" for bit, goal in zip(bits, desired, strict=True))
        return f"bits     {bits}\ndesired  {desired}\n         {wrong}".rstrip()


def _seen(state: jax.Array) -> dict[str, jax.Array]:
    return {"observation": state[0], "achieved_goal": state[0], "desired_goal": state[1]}
