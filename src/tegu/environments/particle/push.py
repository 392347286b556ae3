"""Keep-away: push the other away from the landmark that it wants."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from tegu.environments.particle.world import Body, Landmark, Particles, ParticleWorld, length

COLOURS = ((0.1, 0.9, 0.1), (0.1, 0.1, 0.9))


class Push(ParticleWorld):
    """Keep-away (Lowe et al. 2017) as mpe2's ``simple_push_v3``.

    The adversary sees its velocity and where the two landmarks and the good agent are, seen from itself. The good agent
    sees its velocity, where the goal is, which is the landmark ``goals[0]``, its own colour, which tells the goal too,
    where the landmarks are, their colours, and where the adversary is. A step costs the good agent its distance to the
    goal. It pays the adversary that distance, and costs it its own.
    """

    id: str = eqx.field(static=True, kw_only=True, default="simple_push_v3")

    n_goals = 1

    @property
    def bodies(self) -> list[Body]:
        return [Body("adversary_0", (0.75, 0.25, 0.25), collides=True), Body("agent_0", collides=True)]

    @property
    def landmarks(self) -> list[Landmark]:
        return [Landmark(colour) for colour in COLOURS]

    def view(self, state: Particles, agent: int) -> list[jax.Array]:
        here, goal = state.position[agent], state.goals[0]
        velocity, landmarks, other = state.velocity[agent], state.landmarks - here, state.position[1 - agent] - here
        if agent == 0:
            return [velocity, landmarks, other]
        return [velocity, landmarks[goal], _good_colour(goal), landmarks, jnp.array(COLOURS), other]

    def rewards(self, state: Particles) -> jax.Array:
        adversary, good = _distances(state)
        return jnp.stack([good - adversary, -good])

    def measures(self, state: Particles) -> dict[str, jax.Array]:
        """``agent_distance`` and ``adversary_distance``: from the good agent and from the adversary to the goal."""
        adversary, good = _distances(state)
        return {"agent_distance": good, "adversary_distance": adversary}

    def colours(self, state: Particles) -> tuple[np.ndarray, np.ndarray]:
        """The good agent in a darker tone of the goal."""
        agents, landmarks = super().colours(state)
        return np.stack([agents[0], _good_colour(state.goals[0])]), landmarks


def _good_colour(goal: jax.Array) -> jax.Array:
    return 0.25 + 0.5 * jax.nn.one_hot(goal + 1, 3)


def _distances(state: Particles) -> jax.Array:
    """Of the adversary and of the good agent to the goal, ``[2]``."""
    return length(state.position - state.landmarks[state.goals[0]])
