"""Trust region policy optimisation (Schulman et al. 2015), and the natural policy gradient (Kakade 2001)."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from tegu.algorithms.actor_critic import (
    ActorCriticLearner,
    Network,
    Sample,
    check_actor_critic,
    critic_optimizer,
    fit_critic,
    new_actor_critic,
    new_learner,
    policy_for,
    policy_metrics,
    samples_of,
    standardized,
    with_observations,
)
from tegu.algorithms.base import Algorithm, Update, learning_metrics, named, network_field
from tegu.algorithms.conjugate_gradient import conjugate_gradient
from tegu.algorithms.minibatches import warn_of_truncated_minibatch
from tegu.algorithms.ranges import Count, Fraction, NonNegative, Positive, PositiveFraction, Rate
from tegu.core.errors import TeguError
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Decision, PyTree, Step
from tegu.experience.base import Rollout
from tegu.experience.shuffling import permutation


class TRPO(Algorithm):
    """The largest improvement within a trust region, by conjugate gradients and a line search (section 6 and appendix C
    of the paper)."""

    name: str = named("trpo")

    learning_rate: Rate = 1e-3  #: learning rate of the critic's Adam, a number or a schedule such as "lin_1e-3"
    n_steps: Count = eqx.field(static=True, default=2048)  #: steps per environment between two updates
    batch_size: Count = eqx.field(static=True, default=128)  #: steps per minibatch of the critic
    gamma: Fraction = 0.99  #: discount factor
    gae_lambda: Fraction = 0.95  #: lambda of GAE: lower has less variance and more bias
    target_kl: Positive = 0.01  #: how far a step may move the policy, delta in equation 14, in nats
    cg_max_steps: Count = eqx.field(static=True, default=15)  #: most steps of conjugate gradients
    cg_damping: NonNegative = 0.1  #: added to the diagonal of the Fisher matrix
    line_search: bool = eqx.field(static=True, default=True)  #: shorten the step until it keeps its promise
    line_search_shrinking_factor: PositiveFraction = 0.8  #: by which each try of the line search is shorter
    line_search_max_iter: Count = eqx.field(static=True, default=10)  #: most tries, after which the policy stays
    n_critic_updates: Count = eqx.field(static=True, default=10)  #: epochs of the critic over each rollout
    normalize_advantage: bool = eqx.field(static=True, default=True)  #: mean 0 and variance 1 in each rollout
    sub_sampling_factor: Count = eqx.field(static=True, default=1)  #: the policy learns from one step in so many
    normalize_observation: bool = eqx.field(static=True, default=False)  #: standardise observations (running moments)
    normalize_reward: bool = eqx.field(static=True, default=False)  #: divide rewards by the running std of returns
    net_arch: tuple[int, ...] = eqx.field(static=True, default=(64, 64))  #: hidden layers of actor and critic each
    critic_arch: tuple[int, ...] | None = eqx.field(static=True, default=None)  #: the critic's, if they are others
    activation: str = eqx.field(static=True, default="tanh")  #: tanh, relu, elu, gelu, silu or mish
    features_extractor: str = eqx.field(static=True, default="auto")  #: flatten, nature, impala, minatar or attention
    network: Callable[..., Any] | str | None = network_field()  #: your own, as module:function
    log_std_init: float = 0.0  #: log standard deviation of continuous actions at the start

    @property
    def experience(self) -> Rollout:
        return Rollout(self.n_steps, minibatch=self.batch_size)

    def validate(self, spec: EnvironmentSpec) -> None:
        check_actor_critic(self, spec, apart=True)
        warn_of_truncated_minibatch(self, spec)
        steps = self.n_steps * spec.n_envs
        if steps // self.sub_sampling_factor < 1 + self.normalize_advantage:
            raise TeguError(
                f"{self.title}: sub_sampling_factor {self.sub_sampling_factor} leaves too few of {steps:,} steps to "
                "learn from"
            )

    def init(self, key: jax.Array, spec: EnvironmentSpec) -> ActorCriticLearner:
        network = new_actor_critic(self, key, spec)
        return new_learner(network, critic_optimizer().init(network.critic), spec)

    def networks(self, learner: ActorCriticLearner) -> Sequence[tuple[str, Any]]:
        return learner.network.parts

    def act(
        self, learner: ActorCriticLearner, observation: PyTree, memory: PyTree, key: jax.Array, *, explore: bool
    ) -> Decision:
        policy = policy_for(self, learner, observation)
        return Decision(policy.sample(key) if explore else policy.mode(), memory)

    def update(self, learner: ActorCriticLearner, batch: Step, key: jax.Array) -> Update:
        """One rollout ``[T, B, ...]``: one step of the policy, then ``n_critic_updates`` epochs of the critic."""
        learner, samples, report = samples_of(self, learner, batch)
        choice_key, critic_key = jax.random.split(key)
        network, of_policy = self.improve(learner.network, self.subsample(samples, choice_key))
        network, state, of_critic = fit_critic(
            self, network, learner.optimizer, samples, critic_key, self.learning_rate
        )
        learner = learner._replace(network=network, optimizer=state, updates=learner.updates + 1)
        report |= of_policy | of_critic | policy_metrics(network)
        report |= learning_metrics(self.learning_rate, learner.updates)
        return Update(with_observations(self, learner, batch), report)

    def subsample(self, samples: Sample, key: jax.Array) -> Sample:
        """The samples that the policy learns from: all, or one in ``sub_sampling_factor``, by chance."""
        if self.sub_sampling_factor == 1:
            return samples
        n = samples.advantage.shape[0]
        index = permutation(key, n)[: n // self.sub_sampling_factor]
        return jax.tree.map(lambda leaf: leaf[index], samples)

    def improve(self, network: Network, sample: Sample) -> tuple[Network, dict[str, jax.Array]]:
        """The step that increases the surrogate objective most among those that change the policy by ``target_kl``.

        The objective is linear and the divergence quadratic in the step (equation 17 of the paper), until the line
        search looks at both as they are. ``sample`` is ``[N, ...]``. Nothing moves the critic.
        """
        old, _ = network(sample.x, sample.mask)
        log_prob = old.log_prob(sample.action)
        advantage = standardized(sample.advantage) if self.normalize_advantage else sample.advantage

        def objective(network: Network) -> jax.Array:  # equation 14
            policy, _ = network(sample.x, sample.mask)
            return (jnp.exp(policy.log_prob(sample.action) - log_prob) * advantage).mean()

        def divergence(network: Network) -> jax.Array:
            policy, _ = network(sample.x, sample.mask)
            return old.kl_divergence(policy).mean()

        before, gradient = jax.value_and_grad(objective)(network)
        step = self.natural_step(divergence, network, gradient)

        def accepts(candidate: Network) -> jax.Array:
            return (divergence(candidate) <= self.target_kl) & (objective(candidate) > before)

        report = {"entropy_loss": -old.entropy().mean()}
        if self.line_search:
            shrinking = self.line_search_shrinking_factor, self.line_search_max_iter
            length = backtrack(accepts, network, step, *shrinking)
            step = jax.tree.map(lambda s: length * s, step)
            report["is_line_search_success"] = (length > 0).astype(jnp.float32)
        network = moved(network, step)
        return network, report | {
            "policy_objective": objective(network),
            "kl_divergence_loss": divergence(network),
        }

    def natural_step(self, divergence: Callable[[Network], jax.Array], network: Network, gradient: Network) -> Network:
        """The step ``x`` along the natural gradient for which ``x' F x / 2`` is ``target_kl`` (appendix C).

        ``F`` is the Fisher matrix with ``cg_damping`` on its diagonal: the Hessian of the mean divergence, of which
        only products with vectors are computed.
        """
        _, hessian = jax.linearize(jax.grad(divergence), network)

        def fisher(vector: Network) -> Network:
            return jax.tree.map(lambda h, v: h + self.cg_damping * v, hessian(vector), vector)

        direction, _ = conjugate_gradient(fisher, gradient, max_steps=self.cg_max_steps, tolerance=1e-5)
        curvature = optax.tree.vdot(direction, fisher(direction))
        length = jnp.sqrt(2 * self.target_kl / jnp.maximum(curvature, 1e-12))  # of no direction, no step
        return jax.tree.map(lambda d: length * d, direction)


def backtrack(
    accepts: Callable[[Network], jax.Array],
    start: Network,
    step: Network,
    shrinking_factor: float | jax.Array,
    max_iter: int,
) -> jax.Array:
    """The first of 1, f, f^2... by which a step is accepted, 0 if none of ``max_iter`` is; f: ``shrinking_factor``."""

    def refused(tries: jax.Array) -> jax.Array:
        shorter = jax.tree.map(lambda s: shrinking_factor**tries * s, step)
        return (tries < max_iter) & ~accepts(moved(start, shorter))

    tries = jax.lax.while_loop(refused, lambda tries: tries + 1, jnp.zeros((), jnp.int32))
    return jnp.where(tries < max_iter, shrinking_factor**tries, 0.0)


def moved(network: Network, step: Network) -> Network:
    return jax.tree.map(jnp.add, network, step)
