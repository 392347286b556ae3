"""Cooperative navigation: cover all landmarks without bumping into each other."""

import equinox as eqx
import jax

from tegu.environments.particle.world import Body, Landmark, Particles, ParticleWorld, distances, touching, without

SIZE = 0.15


class Spread(ParticleWorld):
    """Cooperative navigation (Lowe et al. 2017) as mpe2's ``simple_spread_v3``: ``N`` agents and ``N`` landmarks.

    An agent sees its velocity and position, where the landmarks and the others are, seen from itself, and the words of
    the others, which are silent. A step costs an agent ``local_ratio`` times the number of others that it touches, and
    ``1 - local_ratio`` times the sum over the landmarks of the distance of the nearest agent.
    """

    N: int = eqx.field(static=True, kw_only=True, default=3)
    local_ratio: float = eqx.field(kw_only=True, default=0.5)
    id: str = eqx.field(static=True, kw_only=True, default="simple_spread_v3")

    n_words = 2

    @property
    def bodies(self) -> list[Body]:
        return [Body(f"agent_{i}", (0.35, 0.35, 0.85), SIZE, collides=True) for i in range(self.N)]

    @property
    def landmarks(self) -> list[Landmark]:
        return [Landmark()] * self.N

    def view(self, state: Particles, agent: int) -> list[jax.Array]:
        here = state.position[agent]
        return [
            state.velocity[agent],
            here,
            state.landmarks - here,
            without(state.position, agent) - here,
            without(state.words, agent),
        ]

    def rewards(self, state: Particles) -> jax.Array:
        return -self.local_ratio * _collisions(state) - (1 - self.local_ratio) * _uncovered(state).sum()

    def measures(self, state: Particles) -> dict[str, jax.Array]:
        """``distance``: the sum over the landmarks of the distance of the nearest agent. ``collisions``: how many
        others an agent touches, the mean over the agents. ``occupied``: how many landmarks have an agent within 0.1."""
        uncovered = _uncovered(state)
        return {
            "distance": uncovered.sum(),
            "collisions": _collisions(state).mean(),
            "occupied": (uncovered < 0.1).sum(dtype=float),
        }


def _uncovered(state: Particles) -> jax.Array:
    """How far the nearest agent is from each landmark, ``[L]``."""
    return distances(state.landmarks, state.position).min(axis=1)


def _collisions(state: Particles) -> jax.Array:
    """How many others each agent touches, ``[A]``."""
    return touching(state.position, state.position, 2 * SIZE).sum(axis=1) - 1  # each touches itself
