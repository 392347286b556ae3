"""Augmented random search (Mania et al. 2018)."""

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
    mirrored,
    next_generation,
    played,
)
from tegu.algorithms.ranges import Count, CountOrNone, Rate, Width
from tegu.core.errors import TeguError
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Decision, PyTree, Step
from tegu.experience.base import Rollout


class ARSLearner(NamedTuple):
    policy: MeanPolicy
    noise: jax.Array  #: ``[n_delta, P]``: the directions of this generation, of standard normal numbers
    generation: Generation  #: of the members ``mean + delta_std * noise``, then ``mean - delta_std * noise``
    updates: jax.Array  #: int32: generations so far


class ARS(Algorithm):
    """Steps along random directions, each by the difference of the returns on its two sides (algorithm 2)."""

    name: str = named("ars")

    learning_rate: Rate = 0.02  #: step size, alpha, a number or a schedule such as "lin_0.02"
    delta_std: Rate = 0.05  #: standard deviation of the exploration noise, nu
    n_delta: Width = eqx.field(static=True, default=8)  #: random directions of a generation, N; two members for each
    n_top: CountOrNone = eqx.field(static=True, default=None)  #: directions that are used, the b best; None: all
    zero_policy: bool = eqx.field(static=True, default=True)  #: begin with all parameters 0
    alive_bonus_offset: float = 0.0  #: added to every reward, to cancel a bonus for being alive
    n_eval_episodes: Count = eqx.field(static=True, default=1)  #: episodes that each member plays
    n_steps: Count = eqx.field(static=True, default=1000)  #: steps of each environment, in one episode that counts
    normalize_observation: bool = eqx.field(static=True, default=False)  #: standardise observations: V2
    net_arch: tuple[int, ...] = eqx.field(static=True, default=())  #: hidden layers; none: a linear policy
    activation: str = eqx.field(static=True, default="tanh")  #: tanh, relu, elu, gelu, silu or mish
    network: Callable[..., Any] | str | None = network_field()  #: your own, as module:function

    @property
    def experience(self) -> Rollout:
        return Rollout(self.n_steps, whole=True)

    def validate(self, spec: EnvironmentSpec) -> None:
        check_policy(self, spec)
        if self.n_top is not None and self.n_top > self.n_delta:
            raise TeguError(f"ARS: n_top must be at most n_delta, {self.n_delta}, got {self.n_top}")

    def init(self, key: jax.Array, spec: EnvironmentSpec) -> ARSLearner:
        policy_key, noise_key = jax.random.split(key)
        policy = mean_policy(self, policy_key, spec, zero=self.zero_policy)
        noise = self.directions(noise_key, policy)
        generation = Generation.start(2 * self.n_delta, policy.moments)
        return ARSLearner(policy, noise, generation, jnp.zeros((), jnp.int32))

    def networks(self, learner: ARSLearner) -> Sequence[tuple[str, Any]]:
        return (("", learner.policy.network),)

    def begin(self, learner: ARSLearner, key: jax.Array, n: int) -> jax.Array:
        return learner.generation.members(n)

    def act(
        self, learner: ARSLearner, observation: PyTree, memory: PyTree, key: jax.Array, *, explore: bool
    ) -> Decision:
        population = learner.policy.vector + self.delta_std * mirrored(learner.noise)
        return decide(learner.policy, population, observation, memory, explore)

    def update(self, learner: ARSLearner, batch: Step, key: jax.Array) -> Update:
        """One rollout ``[T, B, ...]``; the last one of a generation moves the policy."""
        adapt = partial(self.step, key=key)
        learner, metrics = played(learner, batch, self.n_eval_episodes, adapt, self.alive_bonus_offset)
        metrics["delta_std"] = jnp.asarray(self.delta_std, jnp.float32)
        return Update(learner, metrics | learning_metrics(self.learning_rate, learner.updates))

    def step(self, learner: ARSLearner, key: jax.Array) -> ARSLearner:
        """Lines 6 and 7 of algorithm 2: the ``n_top`` directions whose better side earned most, each weighted by the
        difference of its sides, in units of the deviation of their returns."""
        plus, minus = jnp.split(learner.generation.fitness, 2)
        n_top = self.n_top or self.n_delta
        _, top = jax.lax.top_k(jnp.maximum(plus, minus), n_top)
        plus, minus = plus[top], minus[top]
        step_size = self.learning_rate / (n_top * jnp.concatenate([plus, minus]).std() + 1e-6)
        mean = learner.policy.vector + step_size * (plus - minus) @ learner.noise[top]
        return next_generation(learner, mean, noise=self.directions(key, learner.policy))

    def directions(self, key: jax.Array, policy: MeanPolicy) -> jax.Array:
        return jax.random.normal(key, (self.n_delta, policy.vector.size))
