"""What the algorithms share that learn a policy and state values from their own rollouts: PPO, A2C, TRPO, REINFORCE.

``algorithm`` stands for any of these: its hyper-parameters are read by name.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from gymnasium import spaces

from tegu.algorithms.base import Metrics, check_deep
from tegu.algorithms.minibatches import epochs
from tegu.algorithms.sequences import NONE, cut, sequences
from tegu.algorithms.state_dependent_exploration import check_sde, explored
from tegu.core.errors import TeguError
from tegu.core.spec import EnvironmentSpec, Spaces
from tegu.core.step import PyTree, Step, flatten_time
from tegu.nn.custom import Signature, check_custom, custom_networks
from tegu.nn.distributions import Distribution, n_parameters
from tegu.nn.encoder import attends, check_extractor
from tegu.nn.heads import ActorCritic, CustomActorCritic, initial_log_std
from tegu.nn.moments import RunningMoments
from tegu.nn.optimizers import adam, descend
from tegu.nn.recurrent import RecurrentActorCritic
from tegu.nn.state_dependent_noise import SDE, StateDependentNoise
from tegu.returns import discounted_sums, gae, next_values
from tegu.spaces.features import action_mask, features, n_features

Network = ActorCritic | CustomActorCritic | RecurrentActorCritic


class ActorCriticLearner(NamedTuple):
    network: Network
    optimizer: optax.OptState
    observation_moments: RunningMoments  #: of the features; used with ``normalize_observation``
    reward_moments: RunningMoments  #: of the discounted sums of rewards; used with ``normalize_reward``
    updates: jax.Array  #: int32: updates of the policy so far


class Sample(NamedTuple):
    """What is learned from every step of a rollout, ``[N, ...]``, or of sequences ``[N, L, ...]``."""

    x: PyTree  #: features, or the observation where a person's own network sees it, or ``Sequences``
    mask: jax.Array | None
    action: PyTree
    log_prob: jax.Array  #: what ``act`` kept: the log-probability of the action, or ()
    value: jax.Array
    advantage: jax.Array
    target: jax.Array


def check_actor_critic(
    algorithm: Any, spec: EnvironmentSpec, *, actor_sees: str | None = None, apart: bool = False
) -> None:
    """Raise ``TeguError`` unless actor and critic can be made.

    ``actor_sees``: as for ``new_actor_critic``. ``apart``: a person's own must be two modules, for they learn apart.
    """
    title = algorithm.title
    check_deep(algorithm, spec, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary, spaces.Box)
    check_sde(algorithm, spec)
    if algorithm.normalize_observation and attends(algorithm.features_extractor):
        raise TeguError(
            f"{title}: normalize_observation must be off with features_extractor {algorithm.features_extractor}: a row "
            "of zeros, an absent entity, must stay one"
        )
    if actor_sees is not None and attends(algorithm.features_extractor):
        check_extractor(title, algorithm.features_extractor, spec.observation_space[actor_sees])
    if algorithm.network is not None:
        if algorithm.normalize_observation:
            raise TeguError(
                f"{title}: normalize_observation cannot be used with your own network, which sees raw observations"
            )
        together, two = signatures(spec, actor_sees)
        expected = [two] if apart or actor_sees is not None else [together, two]
        check_custom(title, algorithm.network, spec, *expected)


def signatures(spec: EnvironmentSpec, actor_sees: str | None) -> tuple[tuple[Signature, ...], tuple[Signature, ...]]:
    """What a person's own network may be: one module for both, or an actor and a critic."""
    seen, outputs = spec.observation_space, (n_parameters(spec.action_space),)
    actor = Signature((seen if actor_sees is None else seen[actor_sees],), (outputs,))
    return (Signature((seen,), (outputs, ())),), (actor, Signature((seen,), ((),)))


def new_actor_critic(algorithm: Any, key: jax.Array, spec: EnvironmentSpec, actor_sees: str | None = None) -> Network:
    """``actor_sees``: the entry of a Dict observation, the first one, that the actor sees; None: all of it."""
    sees = spec.observation_space if actor_sees is None else spec.observation_space[actor_sees]
    if algorithm.network is not None:
        modules = custom_networks(algorithm.network, key, spec, Spaces(sees, spec.action_space))
        return CustomActorCritic(modules, initial_log_std(spec, algorithm.log_std_init), spec.spaces, actor_sees)
    actor_space = None if actor_sees is None else sees
    extractor = algorithm.features_extractor
    if actor_sees is not None and not attends(extractor):
        extractor = "flatten"  # images of all agents would be many
    architecture = algorithm.net_arch, algorithm.activation, algorithm.log_std_init
    apart: dict[str, Any] = {"standardised": algorithm.normalize_observation, "critic_arch": algorithm.critic_arch}
    if getattr(algorithm, "use_sde", False):
        apart["sde"] = SDE(algorithm.full_std, algorithm.use_expln)
    if getattr(algorithm, "recurrent", NONE) != NONE:
        return RecurrentActorCritic(
            key, spec, *architecture, algorithm.recurrent, algorithm.hidden_size, actor_space, extractor, **apart
        )
    return ActorCritic(key, spec, *architecture, actor_space, extractor, **apart)


def new_learner(network: Network, optimizer: optax.OptState, spec: EnvironmentSpec) -> ActorCriticLearner:
    """A learner that has seen nothing yet."""
    return ActorCriticLearner(
        network=network,
        optimizer=optimizer,
        observation_moments=RunningMoments.start((n_features(spec.observation_space),)),
        reward_moments=RunningMoments.start(),
        updates=jnp.zeros((), jnp.int32),
    )


def inputs(algorithm: Any, learner: ActorCriticLearner, observation: PyTree) -> PyTree:
    """Features ``[..., n]`` as the networks see them; a person's own see observations as they are."""
    if algorithm.network is not None:
        return observation
    x = features(learner.network.spaces.observation, observation)
    return learner.observation_moments.normalize(x) if algorithm.normalize_observation else x


def policy_for(algorithm: Any, learner: ActorCriticLearner, observation: PyTree) -> Distribution:
    """The policy for observations ``[B, ...]``, without the actions that a mask forbids."""
    return policy_and_memory(algorithm, learner, observation, ())[0]


def policy_and_memory(
    algorithm: Any, learner: ActorCriticLearner, observation: PyTree, memory: PyTree
) -> tuple[Distribution, PyTree]:
    """The same for a policy that may remember, and its memory after the observations."""
    network, x = learner.network, inputs(algorithm, learner, observation)
    mask = action_mask(network.spaces.observation, observation)
    if isinstance(network, RecurrentActorCritic):
        memory = network.remember(x, memory)
        return network.of_memory(memory, mask)[0], memory
    return network(x, mask)[0], memory


def choose(
    algorithm: Any,
    learner: Any,
    policy: Distribution,
    observation: PyTree,
    memory: PyTree,
    key: jax.Array,
    *,
    explore: bool,
) -> tuple[PyTree, PyTree]:
    """Actions ``[B, ...]`` of the ``policy`` for observations ``[B, ...]``, and its memory after them."""
    if not explore:
        return policy.mode(), memory
    if (noise := noise_of(learner.network)) is None:
        return policy.sample(key), memory
    hidden = learner.network.hidden(inputs(algorithm, learner, observation))
    return explored(algorithm, policy, noise, hidden, memory, key)


def first_memory(learner: ActorCriticLearner, n: int) -> PyTree:
    """What the policy remembers before ``n`` episodes: of what it saw, or its noise."""
    if isinstance(learner.network, RecurrentActorCritic):
        return learner.network.start(n)
    noise = noise_of(learner.network)
    return () if noise is None else noise.start(n)


def noise_of(network: Any) -> StateDependentNoise | None:
    """The noise of a network for continuous actions, where that depends on the state."""
    return network.noise if isinstance(network, ActorCritic) else None


def samples_of(
    algorithm: Any, learner: ActorCriticLearner, batch: Step, forgets: jax.Array | None = None
) -> tuple[ActorCriticLearner, Sample, dict[str, jax.Array]]:
    """The samples ``[T * B, ...]`` of a rollout ``[T, B, ...]``, with generalised advantages of scaled rewards.

    Where only a time limit or the rollout's end cut an episode, the value of the true next observation stands for what
    would have followed. Returns also the learner, which has taken in the rewards, and how well its critic did.
    ``forgets``: as for ``sequences``.
    """
    network = learner.network
    learner, rewards = scaled_rewards(algorithm, learner, batch)
    mask = action_mask(network.spaces.observation, batch.observation)
    x = inputs(algorithm, learner, batch.observation)

    def next_x(observation: PyTree) -> PyTree:
        return inputs(algorithm, learner, observation)

    laid_out: Callable[[Sample], Sample]
    if isinstance(network, RecurrentActorCritic):
        log_prob, laid_out = batch.extras.log_prob, partial(cut, length=algorithm.sequence_length)
        x, values, bootstrap = sequences(network, batch, x, next_x, forgets)
    else:
        log_prob, laid_out = batch.extras, flatten_time
        _, values = network(x)
        bootstrap = next_values(lambda o: network(next_x(o))[1], batch.next_observation, values, batch.truncated)
    ends = batch.terminated, batch.truncated
    advantages = gae(rewards, values, bootstrap, *ends, algorithm.gamma, algorithm.gae_lambda)
    sample = laid_out(Sample(x, mask, batch.action, log_prob, values, advantages, advantages + values))
    return learner, sample, {"explained_variance": 1 - advantages.var() / (sample.target.var() + 1e-8)}


def scaled_rewards(algorithm: Any, learner: ActorCriticLearner, batch: Step) -> tuple[ActorCriticLearner, jax.Array]:
    """Rewards ``[T, B]``, divided by the running deviation of the discounted return if asked to.

    Returns are summed within the rollout, so that the learner keeps nothing of single environments.
    """
    if not algorithm.normalize_reward:
        return learner, batch.reward
    sums = discounted_sums(batch.reward, batch.terminated | batch.truncated, algorithm.gamma)
    moments = learner.reward_moments.merge(sums)
    return learner._replace(reward_moments=moments), moments.scale(batch.reward)


def standardized(advantage: jax.Array, where: jax.Array | None = None) -> jax.Array:
    """Advantages ``[N]`` with mean 0 and variance 1, over those alone that ``where`` marks if it is given."""
    return (advantage - advantage.mean(where=where)) / (advantage.std(where=where) + 1e-8)


def fit_critic(
    algorithm: Any, network: Network, state: optax.OptState, samples: Sample, key: jax.Array, learning_rate: Any
) -> tuple[Network, optax.OptState, dict[str, jax.Array]]:
    """The network after ``n_critic_updates`` epochs of regression on ``target``, which move its critic alone.

    ``state`` is that of ``critic_optimizer``; each step of it is on ``batch_size`` of the ``samples`` ``[N, ...]``.
    """

    def minibatch(carry: PyTree, sample: tuple[PyTree, jax.Array]) -> tuple[PyTree, Metrics]:
        (critic, state), (x, target) = carry, sample

        def loss(critic: PyTree) -> jax.Array:
            _, value = eqx.tree_at(_critic, network, critic)(x)
            return ((value - target) ** 2).mean()

        error, gradient = jax.value_and_grad(loss)(critic)
        return descend(critic_optimizer(), learning_rate, critic, gradient, state), {"value_loss": error}

    given = samples.x, samples.target
    carry = network.critic, state
    (critic, state), report = epochs(minibatch, carry, given, key, algorithm.n_critic_updates, algorithm.batch_size)
    return eqx.tree_at(_critic, network, critic), state, report


def critic_optimizer() -> optax.GradientTransformation:
    """Of a critic that learns apart."""
    return adam(eps=1e-5)


def _critic(network: Network) -> Any:
    return network.critic


def with_observations(algorithm: Any, learner: ActorCriticLearner, batch: Step) -> ActorCriticLearner:
    """The learner with the observations of a rollout in its moments.

    To be called after everything else, so that acting and learning saw the same statistics.
    """
    if not algorithm.normalize_observation:
        return learner
    raw = features(learner.network.spaces.observation, batch.observation)
    return learner._replace(observation_moments=learner.observation_moments.merge(raw))


def policy_metrics(network: Network) -> dict[str, jax.Array]:
    """How far continuous actions scatter."""
    noise = noise_of(network)
    log_std = network.log_std if noise is None else noise.log_std
    return {"std": jnp.exp(log_std).mean()} if log_std.size else {}
