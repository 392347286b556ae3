"""OpenAI's evolution strategy (Salimans et al. 2017)."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

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
from tegu.algorithms.ranges import Count, NonNegative, Positive, Rate, Several
from tegu.core.errors import TeguError
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Decision, PyTree, Step
from tegu.experience.base import Rollout
from tegu.nn.optimizers import adam, descend


class OpenAIESLearner(NamedTuple):
    policy: MeanPolicy
    optimizer: optax.OptState
    noise: jax.Array  #: ``[population_size / 2, P]``: standard normal numbers, epsilon
    generation: Generation  #: of the members ``mean + noise_std * noise``, then ``mean - noise_std * noise``
    updates: jax.Array  #: int32: generations so far


class OpenAIES(Algorithm):
    """Gradient ascent on the mean return of a normal distribution of policies, by mirrored samples and the ranks of
    their returns (algorithm 1 and section 2)."""

    name: str = named("openai-es")

    learning_rate: Rate = 0.01  #: Adam's learning rate, alpha, a number or a schedule such as "lin_0.01"
    noise_std: Positive = 0.05  #: standard deviation of the noise in the parameters, sigma
    population_size: Several = eqx.field(static=True, default=64)  #: members of a generation, in mirrored pairs
    weight_decay: NonNegative = 0.0  #: the objective is less by half this times the squared norm of the parameters
    n_eval_episodes: Count = eqx.field(static=True, default=1)  #: episodes that each member plays
    n_steps: Count = eqx.field(static=True, default=1000)  #: steps of each environment, in one episode that counts
    normalize_observation: bool = eqx.field(static=True, default=False)  #: standardise observations (running moments)
    net_arch: tuple[int, ...] = eqx.field(static=True, default=(64, 64))  #: hidden layers
    activation: str = eqx.field(static=True, default="tanh")  #: tanh, relu, elu, gelu, silu or mish
    network: Callable[..., Any] | str | None = network_field()  #: your own, as module:function

    @property
    def experience(self) -> Rollout:
        return Rollout(self.n_steps, whole=True)

    def validate(self, spec: EnvironmentSpec) -> None:
        check_policy(self, spec)
        if self.population_size % 2:
            raise TeguError(f"OpenAIES: population_size must be even, got {self.population_size}")

    def init(self, key: jax.Array, spec: EnvironmentSpec) -> OpenAIESLearner:
        policy_key, noise_key = jax.random.split(key)
        policy = mean_policy(self, policy_key, spec, zero=False)
        generation = Generation.start(self.population_size, policy.moments)
        noise, optimizer = self.noise(noise_key, policy), adam().init(policy.vector)
        return OpenAIESLearner(policy, optimizer, noise, generation, jnp.zeros((), jnp.int32))

    def networks(self, learner: OpenAIESLearner) -> Sequence[tuple[str, Any]]:
        return (("", learner.policy.network),)

    def begin(self, learner: OpenAIESLearner, key: jax.Array, n: int) -> jax.Array:
        return learner.generation.members(n)

    def act(
        self, learner: OpenAIESLearner, observation: PyTree, memory: PyTree, key: jax.Array, *, explore: bool
    ) -> Decision:
        population = learner.policy.vector + self.noise_std * mirrored(learner.noise)
        return decide(learner.policy, population, observation, memory, explore)

    def update(self, learner: OpenAIESLearner, batch: Step, key: jax.Array) -> Update:
        """One rollout ``[T, B, ...]``; the last one of a generation moves the policy."""
        adapt = partial(self.ascend, key=key)
        learner, metrics = played(learner, batch, self.n_eval_episodes, adapt)
        return Update(learner, metrics | learning_metrics(self.learning_rate, learner.updates))

    def ascend(self, learner: OpenAIESLearner, key: jax.Array) -> OpenAIESLearner:
        """One step of Adam up the estimated gradient of the shaped fitness."""
        mean = learner.policy.vector
        estimate = smoothed_gradient(centred_ranks(learner.generation.fitness), learner.noise, self.noise_std)
        downwards = self.weight_decay * mean - estimate
        mean, optimizer = descend(adam(), self.learning_rate, mean, downwards, learner.optimizer)
        return next_generation(learner, mean, optimizer=optimizer, noise=self.noise(key, learner.policy))

    def noise(self, key: jax.Array, policy: MeanPolicy) -> jax.Array:
        return jax.random.normal(key, (self.population_size // 2, policy.vector.size))


def smoothed_gradient(fitness: jax.Array, noise: jax.Array, noise_std: float | jax.Array) -> jax.Array:
    """The estimate ``[P]`` of the gradient of the mean fitness under normal noise (equation 1 of section 2), by the
    fitness ``[2 n]`` at ``noise`` ``[n, P]`` and at its mirror images."""
    plus, minus = jnp.split(fitness, 2)
    return (plus - minus) @ noise / (len(fitness) * noise_std)


def centred_ranks(fitness: jax.Array) -> jax.Array:
    """Ranks ``[N]`` of fitness, from -0.5 for the worst to 0.5 for the best; equals share the mean of their ranks."""
    ordered = jnp.sort(fitness)
    below, not_above = (jnp.searchsorted(ordered, fitness, side=side) for side in ("left", "right"))
    return (below + not_above - len(fitness)) / (2 * (len(fitness) - 1))  # exactly 0 where all are equal
