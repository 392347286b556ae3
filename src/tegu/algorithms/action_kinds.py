"""What differs between continuous and discrete actions in soft actor-critic, and nothing else does."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from gymnasium import spaces

from tegu.algorithms.critics import values
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import PyTree
from tegu.exploration import masked
from tegu.nn.custom import Signature
from tegu.nn.heads import ActionValue, QNetwork
from tegu.spaces.bounds import from_unit, to_unit
from tegu.spaces.features import features

Architecture = tuple[Sequence[int], str, str, bool, str]
"""Hidden layers, activation, features extractor, whether layers are normalised, and the name of the architecture."""

Combine = Callable[[jax.Array], jax.Array]  #: what several critics say ``[critics, ...]``, as one ``[...]``

ENTROPY_RATIO = 0.98  #: target entropy, of the most that discrete actions can have (Christodoulou 2019, appendix)


@dataclass(frozen=True)
class ContinuousActions:
    """Of a Box: critics see them, scaled to [-1, 1], and expectations over them are of one sample."""

    space: spaces.Box

    def target_entropy(self, mask: jax.Array | None) -> jax.Array:
        """What the mean entropy should come to: minus their number (Haarnoja et al. 2018b, appendix D)."""
        return jnp.asarray(-float(math.prod(self.space.shape)))

    def critic(
        self, key: jax.Array, spec: EnvironmentSpec, n_quantiles: int, architecture: Architecture
    ) -> ActionValue:
        """A fresh one. ``n_quantiles``: 0 for values alone."""
        return ActionValue(key, spec, *architecture, n_quantiles=n_quantiles)

    def signature(self, observation: spaces.Space, n_quantiles: int) -> Signature:
        """What a person's own critic must be."""
        outputs = (n_quantiles,) if n_quantiles else ()
        return Signature((observation, spaces.Box(-1, 1, self.space.shape)), (outputs,))

    def uniform(self, policy: Any, mask: jax.Array | None, key: jax.Array) -> jax.Array:
        """Random ones ``[B, k]`` in place of those of the ``policy``, a ``SquashedGaussian``."""
        return jax.random.uniform(key, policy.mean.shape, minval=-1, maxval=1)

    def to_space(self, action: jax.Array) -> jax.Array:
        """What the environment gets ``[B, *shape]`` for a policy's ``[B, k]``."""
        return from_unit(self.space, self._shaped(action))

    def seen(self, action: jax.Array) -> tuple[jax.Array, ...]:
        """What critics see of the environment's ``[B, *shape]`` beside the observation."""
        return (to_unit(self.space, action),)

    def values(self, critics: Sequence[Any], observation: PyTree, action: jax.Array) -> jax.Array:
        """What each critic says ``[critics, B]``, or ``[critics, B, n_quantiles]``, of the environment's actions
        ``[B, *shape]``."""
        return values(critics, observation, *self.seen(action))

    def expected(
        self, critics: Sequence[Any], combine: Combine, observation: PyTree, policy: Any, key: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """What the critics say of the ``policy``'s actions ``[B]``, or ``[B, n]``, and the policy's entropy ``[B]``."""
        action, entropy = self.drawn(policy, key)
        return combine(values(critics, observation, action)), entropy

    def drawn(self, policy: Any, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Actions of the ``policy`` ``[B, *shape]`` as critics see them, and its entropy ``[B]`` by them."""
        action, log_prob = policy.sample_and_log_prob(key)
        return self._shaped(action), -log_prob

    def sampled(self, policy: Any, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """What the environment gets ``[B, *shape]``, drawn from the ``policy``, and its entropy ``[B]``."""
        action, entropy = self.drawn(policy, key)
        return from_unit(self.space, action), entropy

    def _shaped(self, action: jax.Array) -> jax.Array:
        return action.reshape((*action.shape[:-1], *self.space.shape))


@dataclass(frozen=True)
class DiscreteActions:
    """Critics say the values of all of them, so that expectations are exact (Christodoulou 2019, section 3.1)."""

    space: spaces.Discrete

    def target_entropy(self, mask: jax.Array | None) -> jax.Array:
        """Of as many actions as are legal by the ``mask`` ``[B, A]``."""
        legal = jnp.asarray(float(self.space.n)) if mask is None else mask.sum(axis=-1)
        return ENTROPY_RATIO * jnp.log(legal).mean()

    def critic(self, key: jax.Array, spec: EnvironmentSpec, n_quantiles: int, architecture: Architecture) -> QNetwork:
        return QNetwork(key, spec, *architecture)

    def signature(self, observation: spaces.Space, n_quantiles: int) -> Signature:
        return Signature((observation,), ((int(self.space.n),),))

    def uniform(self, policy: Any, mask: jax.Array | None, key: jax.Array) -> jax.Array:
        return policy._replace(logits=masked(jnp.zeros_like(policy.logits), mask)).sample(key)

    def to_space(self, action: jax.Array) -> jax.Array:
        return action

    def seen(self, action: jax.Array) -> tuple[jax.Array, ...]:
        return ()

    def values(self, critics: Sequence[Any], observation: PyTree, action: jax.Array) -> jax.Array:
        return (values(critics, observation) * features(self.space, action)).sum(axis=-1)

    def expected(
        self, critics: Sequence[Any], combine: Combine, observation: PyTree, policy: Any, key: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        probability = jax.nn.softmax(policy.logits)
        return (probability * combine(values(critics, observation))).sum(axis=-1), policy.entropy()

    def sampled(self, policy: Any, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        return policy.sample(key), policy.entropy()


def action_kind(space: Any) -> ContinuousActions | DiscreteActions:
    """What is to be known of the actions of a Box or a Discrete space."""
    return DiscreteActions(space) if isinstance(space, spaces.Discrete) else ContinuousActions(space)
