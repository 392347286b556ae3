"""The simplest of the particle environments: go to the landmark."""

import equinox as eqx
import jax

from tegu.environments.particle.world import Body, Landmark, Particles, ParticleWorld, length


class Simple(ParticleWorld):
    """One agent and one landmark, for finding mistakes, as mpe2's ``simple_v3``.

    The agent sees its velocity and where the landmark is, seen from itself. A step costs the squared distance.
    """

    id: str = eqx.field(static=True, kw_only=True, default="simple_v3")

    @property
    def bodies(self) -> list[Body]:
        return [Body("agent_0")]

    @property
    def landmarks(self) -> list[Landmark]:
        return [Landmark((0.75, 0.25, 0.25))]

    def view(self, state: Particles, agent: int) -> list[jax.Array]:
        return [state.velocity, state.landmarks - state.position]

    def rewards(self, state: Particles) -> jax.Array:
        return -(length(state.landmarks - state.position) ** 2)

    def measures(self, state: Particles) -> dict[str, jax.Array]:
        """``distance``: from the agent to the landmark."""
        return {"distance": length(state.landmarks[0] - state.position[0])}
