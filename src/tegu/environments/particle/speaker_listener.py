"""Cooperative communication: one knows where the other must go, and can only say so."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from tegu.environments.particle.world import Body, Landmark, Particles, ParticleWorld, length

COLOURS = ((0.65, 0.15, 0.15), (0.15, 0.65, 0.15), (0.15, 0.15, 0.65))


class SpeakerListener(ParticleWorld):
    """Cooperative communication (Lowe et al. 2017) as mpe2's ``simple_speaker_listener_v4``.

    The speaker, which cannot move, sees the colour of the landmark that the listener must go to, ``goals[0]``. The
    listener sees its velocity, where the three landmarks are, seen from itself, and what the speaker said last. A step
    costs both the squared distance of the listener to that landmark.
    """

    id: str = eqx.field(static=True, kw_only=True, default="simple_speaker_listener_v4")

    n_words = 3
    n_goals = 1

    @property
    def bodies(self) -> list[Body]:
        return [Body("speaker_0", size=0.075, moves=False, speaks=True), Body("listener_0", size=0.075)]

    @property
    def landmarks(self) -> list[Landmark]:
        return [Landmark(colour, size=0.04) for colour in COLOURS]

    def view(self, state: Particles, agent: int) -> list[jax.Array]:
        if self.bodies[agent].speaks:
            return [jnp.array(COLOURS)[state.goals[0]]]
        return [state.velocity[agent], state.landmarks - state.position[agent], state.words[0]]

    def rewards(self, state: Particles) -> jax.Array:
        return jnp.full(2, -(_distance(state) ** 2))

    def measures(self, state: Particles) -> dict[str, jax.Array]:
        """``distance``: from the listener to its landmark. ``success``: 1 if that is less than 0.1, else 0."""
        distance = _distance(state)
        return {"distance": distance, "success": (distance < 0.1).astype(distance.dtype)}

    def colours(self, state: Particles) -> tuple[np.ndarray, np.ndarray]:
        """The listener in a lighter tone of its landmark."""
        agents, landmarks = super().colours(state)
        return np.stack([agents[0], landmarks[state.goals[0]] + 0.45]), landmarks


def _distance(state: Particles) -> jax.Array:
    return length(state.position[1] - state.landmarks[state.goals[0]])
