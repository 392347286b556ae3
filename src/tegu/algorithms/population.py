"""What searches over a policy's parameters share: a population whose members play whole episodes.

A generation is a population of ``N`` parameter vectors; the return of an episode is the fitness of the member that
played it. The contracts of ``Algorithm`` carry that as they are:

- The learner holds the population, so that ``act`` and ``update`` know it.
- ``begin`` deals the members out to episodes in turn: a policy's memory ``[n]`` is the member that plays each of ``n``
  episodes. With fewer environments than members a generation takes several rollouts, with more each member plays
  several episodes: any number of environments will do, and the learner does not depend on it.
- ``act`` with ``explore`` plays each row's member, without it the policy at the mean, whatever the batch size.
- The experience is ``Rollout(n_steps, whole=True)``. Of each environment the first episode counts; what follows until
  all have taken ``n_steps`` does not. Of an episode that is longer, what it earned in ``n_steps`` counts.
- ``update`` adds the returns to the generation, and begins the next one when every member has played its episodes.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, Self

import equinox as eqx
import jax
import jax.numpy as jnp
from gymnasium import spaces
from jax.flatten_util import ravel_pytree

from tegu.core.errors import TeguError
from tegu.core.spec import EnvironmentSpec, Spaces
from tegu.core.step import Decision, PyTree, Step
from tegu.nn.conv import GAIN
from tegu.nn.custom import CustomNetwork, Signature, check_custom, custom_networks
from tegu.nn.distributions import distribution, n_parameters
from tegu.nn.mlp import MLP, check_network
from tegu.nn.moments import RunningMoments
from tegu.nn.optimizers import one_vector
from tegu.spaces.features import action_mask, features, n_features, require


class MeanPolicy(eqx.Module):
    """The deterministic policy at the mean of a population: the best choice, or the mean of a continuous action."""

    network: MLP | CustomNetwork
    moments: RunningMoments  #: of the features, by which they are standardised if ``normalized``
    spaces: Spaces = eqx.field(static=True)
    normalized: bool = eqx.field(static=True)

    @property
    def vector(self) -> jax.Array:
        """All parameters, ``[P]``."""
        return one_vector(self.network)

    def at(self, vector: jax.Array) -> Self:
        """The same policy with the parameters ``[P]``."""
        return dataclasses.replace(self, network=ravel_pytree(self.network)[1](vector))

    def inputs(self, observation: PyTree) -> PyTree:
        """Features ``[..., n]`` as the network sees them; a person's own sees observations as they are."""
        if isinstance(self.network, CustomNetwork):
            return observation
        x = features(self.spaces.observation, observation)
        return self.moments.normalize(x) if self.normalized else x

    def actions(self, observation: PyTree, vectors: jax.Array | None = None) -> PyTree:
        """Actions for observations ``[B, *shape]``; with ``vectors`` ``[B, P]`` each row by its own parameters."""
        x = self.inputs(observation)
        if vectors is None:
            outputs = self.network(x)
        else:
            outputs = jax.vmap(lambda vector, x: self.at(vector).network(x))(vectors, x)
        mask = action_mask(self.spaces.observation, observation)
        return distribution(self.spaces.action, outputs, jnp.zeros(()), mask).mode()


class Generation(NamedTuple):
    """What the episodes of a population have told so far."""

    total: jax.Array  #: float32 ``[N]``: the sum of each member's returns
    episodes: jax.Array  #: int32: episodes played so far, by the members in turn
    moments: RunningMoments  #: of the features of all generations, this one included

    @classmethod
    def start(cls, n_members: int, moments: RunningMoments) -> "Generation":
        return cls(jnp.zeros(n_members), jnp.zeros((), jnp.int32), moments)

    def members(self, n: int) -> jax.Array:
        """The members that play the next ``n`` episodes, int32 ``[n]``."""
        return (self.episodes + jnp.arange(n, dtype=jnp.int32)) % len(self.total)

    def add(self, member: jax.Array, returns: jax.Array) -> "Generation":
        """Take in the ``returns`` ``[B]`` of the next episodes, each of a ``member`` ``[B]``."""
        return self._replace(total=self.total.at[member].add(returns), episodes=self.episodes + len(returns))

    def complete(self, n_eval_episodes: int) -> jax.Array:
        """Whether every member has played ``n_eval_episodes``."""
        return self.episodes >= n_eval_episodes * len(self.total)

    @property
    def fitness(self) -> jax.Array:
        """The mean return of each member's episodes, ``[N]``; 0 of those that have played none."""
        n = len(self.total)
        played = self.episodes // n + (jnp.arange(n) < self.episodes % n)
        return self.total / jnp.maximum(played, 1)


def check_policy(algorithm: Any, spec: EnvironmentSpec) -> None:
    """Raise ``TeguError`` unless the policy that an algorithm searches for can be made."""
    title = algorithm.title
    check_network(algorithm.activation, algorithm.net_arch)
    require(title, "action", spec.action_space, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary, spaces.Box)
    require(title, "observation", spec.observation_space, spaces.Space)
    if algorithm.network is None:
        return
    if algorithm.normalize_observation:
        raise TeguError(f"{title}: your own network sees raw observations, so normalize_observation must be off")
    signature = Signature((spec.observation_space,), ((n_parameters(spec.action_space),),))
    check_custom(title, algorithm.network, spec, (signature,))


def mean_policy(algorithm: Any, key: jax.Array, spec: EnvironmentSpec, *, zero: bool) -> MeanPolicy:
    """The policy that a search begins with; ``zero``: with all its parameters 0, but for a person's own,
    which begins as it was made."""
    if algorithm.network is None:
        sizes = n_features(spec.observation_space), *algorithm.net_arch, n_parameters(spec.action_space)
        gains = *(GAIN for _ in algorithm.net_arch), 0.01
        network: MLP | CustomNetwork = MLP(key, sizes, algorithm.activation, gains)
    else:
        (network,) = custom_networks(algorithm.network, key, spec)
    if zero and algorithm.network is None:
        network = jax.tree.map(jnp.zeros_like, network)
    moments = RunningMoments.start((n_features(spec.observation_space),))
    return MeanPolicy(network, moments, spec.spaces, algorithm.normalize_observation)


def decide(
    policy: MeanPolicy, population: jax.Array, observation: PyTree, member: jax.Array, explore: bool
) -> Decision:
    """What ``act`` returns: each row ``[B, ...]`` by its ``member`` ``[B]`` of the ``population`` ``[N, P]``."""
    action = policy.actions(observation, population[member] if explore else None)
    return Decision(action, member, extras=member)


def with_episodes(learner: Any, batch: Step, bonus: float | jax.Array = 0.0) -> tuple[Any, dict[str, jax.Array]]:
    """The learner that has taken in a rollout ``[T, B, ...]``, and what it reports; ``bonus`` is added to rewards."""
    policy, generation = learner.policy, learner.generation
    returns, cut = first_returns(batch, bonus)
    if policy.normalized:
        moments = generation.moments.merge(features(policy.spaces.observation, batch.observation))
        generation = generation._replace(moments=moments)
    learner = learner._replace(generation=generation.add(batch.extras[0], returns))
    return learner, {
        "fitness_mean": returns.mean(),
        "fitness_max": returns.max(),
        "fitness_std": returns.std(),
        "cut_episodes": cut.mean(),
    }


def played(
    learner: Any,
    batch: Step,
    n_eval_episodes: int,
    adapt: Callable[[Any], Any],
    bonus: float | jax.Array = 0.0,
) -> tuple[Any, dict[str, jax.Array]]:
    """``with_episodes``, and where they complete the generation, what ``adapt`` makes of the learner."""
    learner, metrics = with_episodes(learner, batch, bonus)
    complete = learner.generation.complete(n_eval_episodes)
    return jax.lax.cond(complete, lambda: adapt(learner), lambda: learner), metrics


def next_generation(learner: Any, mean: jax.Array, **changed: Any) -> Any:
    """The learner whose policy moves to ``mean`` ``[P]``, with what else has ``changed``, and whose new population has
    played nothing yet. It is the first that is standardised by what the old one saw."""
    n_members, moments = len(learner.generation.total), learner.generation.moments
    policy = dataclasses.replace(learner.policy.at(mean), moments=moments)
    generation = Generation.start(n_members, moments)
    return learner._replace(policy=policy, generation=generation, updates=learner.updates + 1, **changed)


def first_returns(batch: Step, bonus: float | jax.Array = 0.0) -> tuple[jax.Array, jax.Array]:
    """Of steps ``[T, B]`` the undiscounted return of each environment's first episode ``[B]``, and whether the steps
    end before it does. ``bonus`` is added to every reward."""
    ended = batch.terminated | batch.truncated
    first = jnp.cumsum(ended, axis=0) - ended == 0
    return jnp.where(first, batch.reward + bonus, 0.0).sum(axis=0), ~ended.any(axis=0)


def mirrored(noise: jax.Array) -> jax.Array:
    """Antithetic samples ``[2 n, P]``: the ``noise`` ``[n, P]``, then the same with its sign turned."""
    return jnp.concatenate([noise, -noise])
