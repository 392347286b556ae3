"""Covariance matrix adaptation (CMA-ES), by the equations of Hansen's tutorial (2016, arXiv:1604.00772)."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

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

MOST_PARAMETERS = 2000  #: of a policy: the covariance matrix has as many rows, and is decomposed in every generation


class CMAESLearner(NamedTuple):
    policy: MeanPolicy  #: with the mean m
    step_size: jax.Array  #: sigma
    covariance: jax.Array  #: C, ``[P, P]``
    variances: jax.Array  #: D^2, ``[P]``: its eigenvalues
    axes: jax.Array  #: B, ``[P, P]``: its eigenvectors, in columns
    step_path: jax.Array  #: p_sigma, ``[P]``: where the mean went lately, in units in which all directions are alike
    path: jax.Array  #: p_c, ``[P]``: where it went lately
    population: jax.Array  #: ``[population_size, P]``
    generation: Generation
    updates: jax.Array  #: int32: generations so far


class Constants(NamedTuple):
    """The constants of a population of lambda members and n parameters (table 1 of the tutorial, positive weights)."""

    recombination: np.ndarray  #: w, ``[lambda / 2]``: of the best members, they add up to 1
    effective: float  #: mu_eff
    c_sigma: float
    d_sigma: float
    c_c: float
    c_1: float
    c_mu: float
    expected_norm: float  #: of n standard normal numbers

    @classmethod
    def of(cls, population_size: int, n: int) -> "Constants":
        raw = math.log((population_size + 1) / 2) - np.log(np.arange(1, population_size // 2 + 1))
        w = raw / raw.sum()
        effective = float(1 / (w**2).sum())
        c_sigma = (effective + 2) / (n + effective + 5)
        c_1 = 2 / ((n + 1.3) ** 2 + effective)
        c_mu = min(1 - c_1, 2 * (0.25 + effective + 1 / effective - 2) / ((n + 2) ** 2 + effective))
        return cls(
            recombination=w,
            effective=effective,
            c_sigma=c_sigma,
            d_sigma=1 + 2 * max(0.0, math.sqrt((effective - 1) / (n + 1)) - 1) + c_sigma,
            c_c=(4 + effective / n) / (n + 4 + 2 * effective / n),
            c_1=c_1,
            c_mu=c_mu,
            expected_norm=math.sqrt(n) * (1 - 1 / (4 * n) + 1 / (21 * n**2)),
        )


class CMAES(Algorithm):
    """A normal distribution over parameters whose covariance learns which of their directions go together, for policies
    of few parameters."""

    name: str = named("cma-es")

    learning_rate: Rate = 1.0  #: of the mean, c_m
    population_size: Several = eqx.field(static=True, default=32)  #: members of a generation, lambda
    initial_std: Positive = 0.5  #: step size of the first generation, sigma
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
        n = jax.eval_shape(lambda: mean_policy(self, jax.random.key(0), spec, zero=True).vector).size
        if n > MOST_PARAMETERS:
            raise TeguError(f"CMAES: the policy must have at most {MOST_PARAMETERS:,} parameters, it has {n:,}")

    def init(self, key: jax.Array, spec: EnvironmentSpec) -> CMAESLearner:
        policy_key, population_key = jax.random.split(key)
        policy = mean_policy(self, policy_key, spec, zero=not self.net_arch)
        mean = policy.vector
        step_size = jnp.full_like(mean[0], self.initial_std)
        covariance, zeros = jnp.eye(mean.size, dtype=mean.dtype), jnp.zeros_like(mean)
        variances = jnp.ones_like(mean)
        return CMAESLearner(
            policy=policy,
            step_size=step_size,
            covariance=covariance,
            variances=variances,
            axes=covariance,
            step_path=zeros,
            path=zeros,
            population=self.sample(population_key, mean, step_size, variances, covariance),
            generation=Generation.start(self.population_size, policy.moments),
            updates=jnp.zeros((), jnp.int32),
        )

    def networks(self, learner: CMAESLearner) -> Sequence[tuple[str, Any]]:
        return (("", learner.policy.network),)

    def begin(self, learner: CMAESLearner, key: jax.Array, n: int) -> jax.Array:
        return learner.generation.members(n)

    def act(
        self, learner: CMAESLearner, observation: PyTree, memory: PyTree, key: jax.Array, *, explore: bool
    ) -> Decision:
        return decide(learner.policy, learner.population, observation, memory, explore)

    def update(self, learner: CMAESLearner, batch: Step, key: jax.Array) -> Update:
        """One rollout ``[T, B, ...]``; the last one of a generation adapts the distribution."""
        adapt = partial(self.adapt, key=key)
        learner, metrics = played(learner, batch, self.n_eval_episodes, adapt)
        metrics["std"] = learner.step_size * jnp.sqrt(jnp.diagonal(learner.covariance)).mean()
        return Update(learner, metrics | learning_metrics(self.learning_rate, learner.updates))

    def adapt(self, learner: CMAESLearner, key: jax.Array) -> CMAESLearner:
        """Recombine the better half of the population, then adapt the step size and the covariance."""
        mean, sigma, covariance = learner.policy.vector, learner.step_size, learner.covariance
        c = Constants.of(self.population_size, mean.size)
        w = jnp.asarray(c.recombination, mean.dtype)
        _, best = jax.lax.top_k(learner.generation.fitness, len(w))
        y = (learner.population[best] - mean) / sigma
        step = w @ y  # equation 41
        mean = mean + self.learning_rate * sigma * step  # 42

        rate = math.sqrt(c.c_sigma * (2 - c.c_sigma) * c.effective)
        p_sigma = (1 - c.c_sigma) * learner.step_path + rate * whiten(learner.variances, learner.axes, step)  # 43
        norm = jnp.linalg.norm(p_sigma)
        sigma = sigma * jnp.exp(c.c_sigma / c.d_sigma * (norm / c.expected_norm - 1))  # 44

        generations = learner.updates + 1
        unbiased = norm / jnp.sqrt(1 - (1 - c.c_sigma) ** (2 * generations))
        h_sigma = (unbiased < (1.4 + 2 / (mean.size + 1)) * c.expected_norm).astype(mean.dtype)
        rate = math.sqrt(c.c_c * (2 - c.c_c) * c.effective)
        p_c = (1 - c.c_c) * learner.path + h_sigma * rate * step  # 45
        stalled = (1 - h_sigma) * c.c_c * (2 - c.c_c)
        kept = 1 + c.c_1 * stalled - c.c_1 - c.c_mu
        covariance = kept * covariance + c.c_1 * jnp.outer(p_c, p_c) + c.c_mu * (y.T * w) @ y  # 47

        variances, axes = eigen(covariance)
        population = self.sample(key, mean, sigma, variances, axes)
        changed = {"step_size": sigma, "covariance": covariance, "variances": variances, "axes": axes}
        return next_generation(learner, mean, population=population, step_path=p_sigma, path=p_c, **changed)

    def sample(
        self, key: jax.Array, mean: jax.Array, sigma: jax.Array, variances: jax.Array, axes: jax.Array
    ) -> jax.Array:
        """A population ``[population_size, P]`` (equations 38 to 40)."""
        noise = jax.random.normal(key, (self.population_size, mean.size))
        return mean + sigma * (noise * jnp.sqrt(variances)) @ axes.T


def eigen(covariance: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The eigenvalues ``[P]``, which rounding must not make negative, and eigenvectors ``[P, P]`` in columns."""
    variances, axes = jnp.linalg.eigh(covariance)
    return jnp.maximum(variances, 1e-12), axes


def whiten(variances: jax.Array, axes: jax.Array, step: jax.Array) -> jax.Array:
    """The covariance of these to the power of -1/2, times ``step`` ``[P]``."""
    return axes @ ((axes.T @ step) / jnp.sqrt(variances))
