"""Predator and prey: slow predators hunt faster prey among obstacles."""

import equinox as eqx
import jax
import jax.numpy as jnp

from tegu.environments.particle.world import Body, Landmark, Particles, ParticleWorld, touching, without

PREDATOR_SIZE, PREY_SIZE = 0.075, 0.05


class Tag(ParticleWorld):
    """Predator-prey (Lowe et al. 2017) as mpe2's ``simple_tag_v3``.

    An agent sees its velocity and position, where the obstacles and the others are, seen from itself, and how fast the
    (other) prey are. Every contact of a predator with a prey pays each predator 10 and costs that prey 10; a prey also
    pays for leaving the field, see ``trespass``. In the paper's second environment prey are twice as fast as predators:
    ``good_max_speed=2``.
    """

    num_good: int = eqx.field(static=True, kw_only=True, default=1)  #: prey
    num_adversaries: int = eqx.field(static=True, kw_only=True, default=3)  #: predators
    num_obstacles: int = eqx.field(static=True, kw_only=True, default=2)
    good_max_speed: float = eqx.field(kw_only=True, default=1.3)  #: of prey, length/s; predators reach 1
    id: str = eqx.field(static=True, kw_only=True, default="simple_tag_v3")

    @property
    def bodies(self) -> list[Body]:
        predator = Body("", (0.85, 0.35, 0.35), PREDATOR_SIZE, collides=True, acceleration=3, max_speed=1)
        prey = Body("", (0.35, 0.85, 0.35), PREY_SIZE, collides=True, acceleration=4, max_speed=self.good_max_speed)
        predators = [predator._replace(name=f"adversary_{i}") for i in range(self.num_adversaries)]
        return predators + [prey._replace(name=f"agent_{i}") for i in range(self.num_good)]

    @property
    def landmarks(self) -> list[Landmark]:
        return [Landmark(size=0.2, collides=True, extent=0.9)] * self.num_obstacles

    def view(self, state: Particles, agent: int) -> list[jax.Array]:
        here = state.position[agent]
        return [
            state.velocity[agent],
            here,
            state.landmarks - here,
            without(state.position, agent) - here,
            without(state.velocity, agent)[self.num_adversaries - (agent < self.num_adversaries) :],
        ]

    def rewards(self, state: Particles) -> jax.Array:
        touches = self._touches(state)
        predators = jnp.full(self.num_adversaries, 10 * touches.sum())
        prey = -10 * touches.sum(axis=0) - trespass(state.position[self.num_adversaries :])
        return jnp.concatenate([predators, prey])

    def measures(self, state: Particles) -> dict[str, jax.Array]:
        """``touches``: the contacts of a predator with a prey; the paper counts them over an episode."""
        return {"touches": self._touches(state).sum()}

    def _touches(self, state: Particles) -> jax.Array:
        """1 where a predator and a prey touch, else 0, ``[num_adversaries, num_good]``."""
        predators, prey = jnp.split(state.position, [self.num_adversaries])
        return touching(predators, prey, PREDATOR_SIZE + PREY_SIZE)


def trespass(position: jax.Array) -> jax.Array:
    """What prey pay near the border of the field, at 1, and beyond it: ``[..., 2]`` to ``[...]``."""
    reach = jnp.abs(position)
    near, beyond = 10 * (reach - 0.9), jnp.minimum(jnp.exp(2 * reach - 2), 10)
    return jnp.where(reach < 0.9, 0, jnp.where(reach < 1, near, beyond)).sum(axis=-1)
