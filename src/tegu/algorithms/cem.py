"""The cross-entropy method (Mannor et al. 2003) with noise that keeps it searching (Szita & Lorincz 2006)."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from tegu.algorithms.base import Algorithm, Update, learning_metrics, named, network_field
from tegu.algorithms.population import (
    Generation,
    MeanPolicy,
    check_policy,
    decide,
    mean_policy,
    next_generation,
    played,
)
from tegu.algorithms.ranges import Count, Positive, Rate, Several
from tegu.core.errors import TeguError
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Decision, PyTree, Step
from tegu.experience.base import Rollout


class CEMLearner(NamedTuple):
    policy: MeanPolicy
    variance: jax.Array  #: ``[P]``: of the elite's parameters, before noise is added
    population: jax.Array  #: ``[population_size, P]``
    generation: Generation
    updates: jax.Array  #: int32: generations so far


class CEM(Algorithm):
    """A normal distribution over parameters, independent of each other, that is fitted to the best of its samples."""

    name: str = named("cem")

    learning_rate: Rate = 1.0  #: weight of the elite in the new mean and variance; 1: they are the elite's alone
    population_size: Several = eqx.field(static=True, default=100)  #: members of a generation
    n_elite: Count = eqx.field(static=True, default=10)  #: the best, to which the distribution is fitted
    initial_std: Positive = 1.0  #: standard deviation of every parameter in the first generation
    extra_variance: Rate = 0.0  #: added to every variance, Z_t, a number or a schedule such as "lin_0.05"
    n_eval_episodes: Count = eqx.field(static=True, default=1)  #: episodes that each member plays
    n_steps: Count = eqx.field(static=True, default=1000)  #: steps of each environment, in one episode that counts
    normalize_observation: bool = eqx.field(static=True, default=False)  #: standardise observations (running moments)
    net_arch: tuple[int, ...] = eqx.field(static=True, default=())  #: hidden layers; none: a linear policy
    activation: str = eqx.field(static=True, default="tanh")  #: tanh, relu, elu, gelu, silu or mish
    network: Callable[..., Any] | str | None = network_field()  #: your own, as module:function

    @property
    def experience(self) -> Rollout:
        return Rollout(self.n_steps, whole=True)

    def validate(self, spec: EnvironmentSpec) -> None:
        check_policy(self, spec)
        if self.n_elite > self.population_size:
            raise TeguError(f"CEM: n_elite must be at most population_size, {self.population_size}, got {self.n_elite}")
        if self.n_elite == 1 and isinstance(self.extra_variance, float | int) and not self.extra_variance:
            raise TeguError(
                "CEM: an elite of one has no variance: n_elite must be at least 2, or extra_variance above 0"
            )

    def init(self, key: jax.Array, spec: EnvironmentSpec) -> CEMLearner:
        policy_key, population_key = jax.random.split(key)
        policy = mean_policy(self, policy_key, spec, zero=True)
        variance = jnp.full_like(policy.vector, self.initial_std) ** 2
        population = self.sample(population_key, policy.vector, variance)
        generation = Generation.start(self.population_size, policy.moments)
        return CEMLearner(policy, variance, population, generation, jnp.zeros((), jnp.int32))

    def networks(self, learner: CEMLearner) -> Sequence[tuple[str, Any]]:
        return (("", learner.policy.network),)

    def begin(self, learner: CEMLearner, key: jax.Array, n: int) -> jax.Array:
        return learner.generation.members(n)

    def act(
        self, learner: CEMLearner, observation: PyTree, memory: PyTree, key: jax.Array, *, explore: bool
    ) -> Decision:
        return decide(learner.policy, learner.population, observation, memory, explore)

    def update(self, learner: CEMLearner, batch: Step, key: jax.Array) -> Update:
        """One rollout ``[T, B, ...]``; the last one of a generation moves the distribution."""
        adapt = partial(self.fit, key=key)
        learner, metrics = played(learner, batch, self.n_eval_episodes, adapt)
        metrics["std"] = jnp.sqrt(learner.variance).mean()
        return Update(learner, metrics | learning_metrics(self.learning_rate, learner.updates))

    def fit(self, learner: CEMLearner, key: jax.Array) -> CEMLearner:
        """Mean and variance of the elite, and a new population with noise (equations 1 and 2 of Szita & Lorincz)."""
        _, best = jax.lax.top_k(learner.generation.fitness, self.n_elite)
        elite, old = learner.population[best], learner.policy.vector
        mean = old + self.learning_rate * (elite.mean(axis=0) - old)
        variance = learner.variance + self.learning_rate * (elite.var(axis=0) - learner.variance)
        population = self.sample(key, mean, variance + self.extra_variance)
        return next_generation(learner, mean, variance=variance, population=population)

    def sample(self, key: jax.Array, mean: jax.Array, variance: jax.Array) -> jax.Array:
        """A population ``[population_size, P]``."""
        return mean + jnp.sqrt(variance) * jax.random.normal(key, (self.population_size, mean.size))
