"""A recurrent network whose outputs are mixtures of normal distributions (Bishop 1994; Graves 2013)."""

import math
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from tegu.nn.mlp import MLP
from tegu.nn.recurrent import CELLS, LSTM, LSTMState, unroll


class Mixture(NamedTuple):
    """Independent mixtures of ``K`` normal distributions for each of ``Z`` numbers: leaves ``[..., Z, K]``."""

    logits: jax.Array
    mean: jax.Array
    log_std: jax.Array

    def log_prob(self, value: jax.Array) -> jax.Array:
        """The logarithm of the density ``[...]`` of values ``[..., Z]``."""
        error = (value[..., None] - self.mean) * jnp.exp(-self.log_std)
        each = -0.5 * (error**2 + math.log(2 * math.pi)) - self.log_std
        return jax.nn.logsumexp(jax.nn.log_softmax(self.logits) + each, axis=-1).sum(axis=-1)

    def at_temperature(self, temperature: float | jax.Array) -> "Mixture":
        """The mixtures with logits divided and variances multiplied by a ``temperature`` tau (Ha & Schmidhuber 2018,
        appendix; Ha & Eck 2017, equation 8): above 1 they are less certain."""
        return Mixture(self.logits / temperature, self.mean, self.log_std + 0.5 * jnp.log(temperature))

    def sample(self, key: jax.Array) -> jax.Array:
        """Values ``[..., Z]``."""
        component_key, noise_key = jax.random.split(key)
        chosen = jax.random.categorical(component_key, self.logits)[..., None]
        mean, log_std = (jnp.take_along_axis(leaf, chosen, axis=-1)[..., 0] for leaf in (self.mean, self.log_std))
        return mean + jnp.exp(log_std) * jax.random.normal(noise_key, mean.shape)


class Forecast(NamedTuple):
    """What is predicted of the next step ``[...]``."""

    latent: Mixture  #: of the next observation ``[..., Z]``
    reward: jax.Array  #: on a scale of logarithms
    end: jax.Array  #: logit of the end of the episode


class MixtureDensityRNN(eqx.Module):
    """An LSTM that sees latent vectors and actions, and predicts what comes of them."""

    lstm: LSTM
    head: MLP  #: linear
    n_latents: int = eqx.field(static=True)  #: Z
    n_mixtures: int = eqx.field(static=True)  #: K

    def __init__(self, key: jax.Array, n_latents: int, n_actions: int, width: int, n_mixtures: int):
        """``n_actions``: the length of an action's features."""
        lstm_key, head_key = jax.random.split(key)
        lstm = CELLS["lstm"](lstm_key, n_latents + n_actions, width)
        assert isinstance(lstm, LSTM)
        self.lstm, self.n_latents, self.n_mixtures = lstm, n_latents, n_mixtures
        self.head = MLP(head_key, (width, 3 * n_latents * n_mixtures + 2), "tanh")

    def __call__(self, latent: jax.Array, action: jax.Array, state: LSTMState) -> LSTMState:
        """The state after an ``action`` ``[..., A]`` where the observation is ``latent`` ``[..., Z]``."""
        return self.lstm(jnp.concatenate([latent, action], axis=-1), state)

    def forecast(self, latent: jax.Array, state: LSTMState) -> Forecast:
        """What comes of the action, by the ``state`` after it; mixtures are of changes of ``latent``."""
        *mixtures, reward, end = jnp.split(self.head(state.hidden), self._cuts, axis=-1)
        shape = *latent.shape[:-1], self.n_latents, self.n_mixtures
        logits, change, log_std = (leaf.reshape(shape) for leaf in mixtures)
        return Forecast(Mixture(logits, latent[..., None] + change, log_std), reward[..., 0], end[..., 0])

    def unroll(self, latent: jax.Array, action: jax.Array, begins: jax.Array) -> Forecast:
        """Forecasts ``[T, B, ...]`` of all steps of sequences ``[T, B, ...]``, which begin with an empty state and
        anew where an episode ``begins`` (bool ``[T, B]``)."""
        x = jnp.concatenate([latent, action], axis=-1)
        return self.forecast(latent, unroll(self.lstm, x, begins, self.lstm.start(begins.shape[1])))

    @property
    def _cuts(self) -> list[int]:
        n = self.n_latents * self.n_mixtures
        return [n, 2 * n, 3 * n, 3 * n + 1]
