"""Covert communication: send a message in the open that only who has the key can read."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from tegu.environments.particle.world import Body, Landmark, Particles, ParticleWorld

EVE, BOB, ALICE = range(3)


class Crypto(ParticleWorld):
    """Covert communication (Lowe et al. 2017) as mpe2's ``simple_crypto_v3``. Nobody moves.

    The message and the key, ``goals``, are 0 or 1. Alice sees both as one-hot vectors ``[4]``, Bob the key and what
    Alice said last, Eve only what Alice said last. The error of Bob, and of Eve, is the squared distance of what they
    say to the message's vector, and 0 if they say nothing. A step costs Eve her error; it pays Bob and Alice Eve's, and
    costs them Bob's. Who answers has heard what Alice said one step before.
    """

    id: str = eqx.field(static=True, kw_only=True, default="simple_crypto_v3")

    n_words = 4
    n_goals = 2

    @property
    def bodies(self) -> list[Body]:
        red = (0.75, 0.25, 0.25)
        return [
            Body("eve_0", red, moves=False, speaks=True),
            Body("bob_0", moves=False, speaks=True),
            Body("alice_0", moves=False, speaks=True),
        ]

    @property
    def landmarks(self) -> list[Landmark]:
        return [Landmark((1.0, 0.0, 0.0)), Landmark((0.0, 1.0, 0.0))]

    def view(self, state: Particles, agent: int) -> list[jax.Array]:
        message, key = jax.nn.one_hot(state.goals, self.n_words)
        return [[state.words[ALICE]], [key, state.words[ALICE]], [message, key]][agent]

    def rewards(self, state: Particles) -> jax.Array:
        message = jax.nn.one_hot(state.goals[0], self.n_words)
        error = jnp.sum((state.words - message) ** 2, axis=-1) * state.words.any(axis=-1)
        good = error[EVE] - error[BOB]
        return jnp.stack([-error[EVE], good, good])

    def measures(self, state: Particles) -> dict[str, jax.Array]:
        """``bob_correct`` and ``eve_correct``: 1 if the word said loudest is the message, else 0. There are four words
        but two messages, and at the first step nobody has heard anything yet."""
        correct = (state.words.argmax(axis=-1) == state.goals[0]).astype(state.words.dtype)
        return {"bob_correct": correct[BOB], "eve_correct": correct[EVE]}

    def colours(self, state: Particles) -> tuple[np.ndarray, np.ndarray]:
        """Bob in the colour of the message."""
        agents, landmarks = super().colours(state)
        agents[BOB] = landmarks[state.goals[0]]
        return agents, landmarks
