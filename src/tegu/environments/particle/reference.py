"""Two agents that communicate to each other where to go."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from tegu.environments.particle.world import Body, Landmark, Particles, ParticleWorld, length, without

COLOURS = ((0.75, 0.25, 0.25), (0.25, 0.75, 0.25), (0.25, 0.25, 0.75))


class Reference(ParticleWorld):
    """Two agents that both move and speak (Mordatch & Abbeel 2017) as mpe2's ``simple_reference_v3``.

    An agent sees its velocity, where the three landmarks are, seen from itself, the colour of the one that the *other*
    must go to, ``goals[agent]``, and what the other said last. A step costs an agent ``local_ratio`` times the distance
    of the other to that landmark, and ``1 - local_ratio`` times the mean of both distances.
    """

    local_ratio: float = eqx.field(kw_only=True, default=0.5)
    id: str = eqx.field(static=True, kw_only=True, default="simple_reference_v3")

    n_words = 10
    n_goals = 2

    @property
    def bodies(self) -> list[Body]:
        return [Body("agent_0", speaks=True), Body("agent_1", speaks=True)]

    @property
    def landmarks(self) -> list[Landmark]:
        return [Landmark(colour) for colour in COLOURS]

    def view(self, state: Particles, agent: int) -> list[jax.Array]:
        return [
            state.velocity[agent],
            state.landmarks - state.position[agent],
            jnp.array(COLOURS)[state.goals[agent]],
            without(state.words, agent),
        ]

    def rewards(self, state: Particles) -> jax.Array:
        distance = _distances(state)
        return -self.local_ratio * distance - (1 - self.local_ratio) * distance.mean()

    def measures(self, state: Particles) -> dict[str, jax.Array]:
        """``distance``: from an agent to its landmark. ``success``: the fraction of agents within 0.1 of theirs.
        Both are averaged over the two agents."""
        distance = _distances(state)
        return {"distance": distance.mean(), "success": (distance < 0.1).mean(dtype=float)}

    def colours(self, state: Particles) -> tuple[np.ndarray, np.ndarray]:
        """The agents in the colour of their landmarks."""
        landmarks = np.array(COLOURS)
        return landmarks[state.goals[::-1]], landmarks


def _distances(state: Particles) -> jax.Array:
    """Of the agent that the first directs, and of the one that the second directs, to its landmark, ``[2]``."""
    return length(state.position[::-1] - state.landmarks[state.goals])
