"""Predators with a leader that speaks, and prey that eat and hide in forests."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from tegu.environments.particle.tag import trespass
from tegu.environments.particle.world import Body, Landmark, Particles, ParticleWorld, distances, touching, without

PREDATOR_SIZE, PREY_SIZE, FOOD_SIZE, FOREST_SIZE = 0.075, 0.045, 0.03, 0.3


class WorldComm(ParticleWorld):
    """Predator-prey with food, forests and a leader, as mpe2's ``simple_world_comm_v3``.

    The first predator leads: it tells the others one of four words. An agent sees its velocity and position, where the
    obstacles, the food, the forests and the others are, seen from itself, the velocities of the (other) prey, and for
    each forest whether it is in it, 1 or -1; predators also hear the leader. Who is in a forest and who is not do not
    see each other, nor do those in different forests: zeros stand for what is not seen. The leader sees all.

    Every contact of a predator with a prey pays each predator 5 and costs that prey 5. A step costs a predator 0.1
    times its distance to the nearest prey. A prey gains 2 for each food it touches, and pays 0.05 times its distance to
    the nearest food, and twice what it pays in ``simple_tag_v3`` for leaving the field.
    """

    num_good: int = eqx.field(static=True, kw_only=True, default=2)  #: prey
    num_adversaries: int = eqx.field(static=True, kw_only=True, default=4)  #: predators, the leader among them
    num_obstacles: int = eqx.field(static=True, kw_only=True, default=1)
    num_food: int = eqx.field(static=True, kw_only=True, default=2)
    num_forests: int = eqx.field(static=True, kw_only=True, default=2)
    id: str = eqx.field(static=True, kw_only=True, default="simple_world_comm_v3")

    n_words = 4

    @property
    def bodies(self) -> list[Body]:
        predator = Body("", (0.95, 0.45, 0.45), PREDATOR_SIZE, collides=True, acceleration=3, max_speed=1)
        prey = Body("", (0.45, 0.95, 0.45), PREY_SIZE, collides=True, acceleration=4, max_speed=1.3)
        return [
            predator._replace(name="leadadversary_0", colour=(0.65, 0.15, 0.15), speaks=True),
            *[predator._replace(name=f"adversary_{i}") for i in range(self.num_adversaries - 1)],
            *[prey._replace(name=f"agent_{i}") for i in range(self.num_good)],
        ]

    @property
    def landmarks(self) -> list[Landmark]:
        return [
            *[Landmark(size=0.2, collides=True, extent=0.9)] * self.num_obstacles,
            *[Landmark((0.15, 0.15, 0.65), FOOD_SIZE, extent=0.9)] * self.num_food,
            *[Landmark((0.6, 0.9, 0.6), FOREST_SIZE, extent=0.9)] * self.num_forests,
        ]

    def view(self, state: Particles, agent: int) -> list[jax.Array]:
        here, is_predator = state.position[agent], agent < self.num_adversaries
        _, forests = self._food_and_forests(state)
        inside = touching(state.position, forests, np.array([[body.size + FOREST_SIZE] for body in self.bodies])) > 0
        in_open = ~inside.any(axis=1)
        seen = (inside & inside[agent]).any(axis=1) | (in_open & in_open[agent]) | (agent == 0)
        position = without(jnp.where(seen[:, None], state.position - here, 0), agent)
        velocity = without(jnp.where(seen[:, None], state.velocity, 0), agent)
        prey_velocity = velocity[self.num_adversaries - is_predator :]
        in_forest = jnp.where(inside[agent], 1.0, -1.0)
        always = [state.velocity[agent], here, state.landmarks - here, position]
        if is_predator:
            return [*always, prey_velocity, in_forest, state.words[0]]
        return [*always, in_forest, prey_velocity]

    def rewards(self, state: Particles) -> jax.Array:
        predators, prey = jnp.split(state.position, [self.num_adversaries])
        food, _ = self._food_and_forests(state)
        touches, meals = self._touches(state), touching(prey, food, PREY_SIZE + FOOD_SIZE)
        hunt = 5 * touches.sum() - 0.1 * distances(predators, prey).min(axis=1)
        forage = 2 * meals.sum(axis=1) - 0.05 * distances(prey, food).min(axis=1)
        return jnp.concatenate([hunt, forage - 5 * touches.sum(axis=0) - 2 * trespass(prey)])

    def measures(self, state: Particles) -> dict[str, jax.Array]:
        """``touches``: the contacts of a predator with a prey."""
        return {"touches": self._touches(state).sum()}

    def _touches(self, state: Particles) -> jax.Array:
        """1 where a predator and a prey touch, else 0, ``[num_adversaries, num_good]``."""
        predators, prey = jnp.split(state.position, [self.num_adversaries])
        return touching(predators, prey, PREDATOR_SIZE + PREY_SIZE)

    def _food_and_forests(self, state: Particles) -> tuple[jax.Array, jax.Array]:
        """Where they are, ``[num_food, 2]`` and ``[num_forests, 2]``."""
        _, food, forests = jnp.split(state.landmarks, [self.num_obstacles, self.num_obstacles + self.num_food])
        return food, forests
