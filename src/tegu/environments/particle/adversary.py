"""Physical deception: reach the right landmark without giving away which it is."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from tegu.environments.particle.world import Body, Landmark, Particles, ParticleWorld, length, without


class Adversary(ParticleWorld):
    """Physical deception (Lowe et al. 2017) as mpe2's ``simple_adversary_v3``: ``N`` good agents and ``N`` landmarks.

    All see where the landmarks and the others are, seen from themselves; the good agents first of all see the goal, the
    landmark ``goals[0]``. A step costs the adversary its distance to the goal. It pays the good agents that distance,
    and costs them the distance of the nearest of them.
    """

    N: int = eqx.field(static=True, kw_only=True, default=2)
    id: str = eqx.field(static=True, kw_only=True, default="simple_adversary_v3")

    n_goals = 1

    @property
    def bodies(self) -> list[Body]:
        good = [Body(f"agent_{i}", (0.35, 0.35, 0.85), size=0.15) for i in range(self.N)]
        return [Body("adversary_0", (0.85, 0.35, 0.35), size=0.15), *good]

    @property
    def landmarks(self) -> list[Landmark]:
        return [Landmark((0.15, 0.15, 0.15), size=0.08)] * self.N

    def view(self, state: Particles, agent: int) -> list[jax.Array]:
        here = state.position[agent]
        public = [state.landmarks - here, without(state.position, agent) - here]
        return public if agent == 0 else [state.landmarks[state.goals[0]] - here, *public]

    def rewards(self, state: Particles) -> jax.Array:
        adversary, good = _distances(state)
        return jnp.stack([-adversary] + self.N * [adversary - good])

    def measures(self, state: Particles) -> dict[str, jax.Array]:
        """``agent_distance`` and ``adversary_distance``: from the good agent nearest to the goal, and from the
        adversary, to the goal. ``agent_success`` and ``adversary_success``: 1 if that is less than 0.1, else 0."""
        adversary, good = _distances(state)
        return {
            "agent_distance": good,
            "adversary_distance": adversary,
            "agent_success": (good < 0.1).astype(good.dtype),
            "adversary_success": (adversary < 0.1).astype(adversary.dtype),
        }

    def colours(self, state: Particles) -> tuple[np.ndarray, np.ndarray]:
        """The goal in green."""
        agents, landmarks = super().colours(state)
        landmarks[state.goals[0]] = 0.15, 0.65, 0.15
        return agents, landmarks


def _distances(state: Particles) -> tuple[jax.Array, jax.Array]:
    """Of the adversary and of the nearest good agent to the goal."""
    distance = length(state.position - state.landmarks[state.goals[0]])
    return distance[0], distance[1:].min()
