"""What algorithms with a learned model of the environment share: what it is, how it learns, and how it is played."""

import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from gymnasium import spaces

from tegu.algorithms.base import Imagined
from tegu.core.errors import TeguError
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import Step
from tegu.nn.dynamics import Ensemble, Prediction, negative_log_likelihood
from tegu.nn.moments import RunningMoments
from tegu.nn.optimizers import adam, descend
from tegu.search.shooting import Outcome
from tegu.spaces.features import one_line
from tegu.spaces.relaxed import action_features

BOUNDS_WEIGHT = 0.01  #: of the bounds of variances in the loss (Chua et al. 2018, appendix A.1)

Space = spaces.Box | spaces.Discrete  #: of actions

REWARDS = ("learned", "given")


class GivenReward(eqx.Module):
    """What steps pay and which end the task, where that is known and never changes."""

    function: Any = eqx.field(static=True)  #: ``EnvironmentSpec.reward``; None where an agent was loaded without it

    def __call__(self, observation: jax.Array, action: jax.Array, following: jax.Array) -> Any:
        if self.function is None:
            raise TeguError("the model's rewards are those of its environment: load the agent with that environment")
        return self.function(observation, action, following)


class LearnedDynamics(NamedTuple):
    """A model of an environment whose observations are vectors ``[o]``: how they change, the reward, and the end.

    What networks see and predict is standardised by all steps so far.
    """

    ensemble: Ensemble
    optimizer: optax.OptState
    inputs: RunningMoments  #: of observations and, beside them, actions ``[o + k]``
    outputs: RunningMoments  #: of the changes of observations and rewards ``[o + 1]``
    given: GivenReward | tuple[()] = ()  #: counts in place of what networks say of rewards and ends


class Settings(NamedTuple):
    """How a model is made and learned; the hyper-parameters of algorithms that have one."""

    members: int
    net_arch: tuple[int, ...]
    activation: str
    learning_rate: Any
    weight_decay: Any  #: per learning rate, apart from the gradient
    probabilistic: bool  #: whether variances are learned
    nll_beta: Any  #: the power of the variance by which their loss is weighted
    learns_end: bool  #: whether the end of episodes is learned; else there is none
    reward: str = "learned"  #: or given: rewards and ends are those of the task


def check_dynamics(title: str, spec: EnvironmentSpec) -> None:
    """Raise ``TeguError`` unless a model can be learned of the environment."""
    if not is_vector(spec.observation_space):
        raise TeguError(
            f"{title}: a model is learned of observations that are vectors of floats (float32 or float64), the "
            f"environment has {one_line(spec.observation_space)}"
        )


def check_reward(algorithm: Any, spec: EnvironmentSpec) -> None:
    """Raise ``TeguError`` unless rewards are learned, or known of the environment where they are given."""
    title, reward = algorithm.title, algorithm.reward
    if reward not in REWARDS:
        raise TeguError(f"{title}: reward must be one of {', '.join(REWARDS)}, got {reward!r}")
    if algorithm.reads_reward and spec.reward is None:
        raise TeguError(
            f"{title}: reward='given' needs a task whose reward follows from observations that Tegu knows, "
            f"{spec.id} is none; Hopper-v5 and the like need exclude_current_positions_from_observation=False"
        )


def is_vector(space: Any) -> bool:
    """Whether observations are vectors of floats, which are float32 to a model."""
    return isinstance(space, spaces.Box) and space.dtype in (np.float32, np.float64) and len(space.shape) == 1


def deterministic(net_arch: tuple[int, ...], learning_rate: Any) -> Settings:
    """The settings of a single network that predicts means."""
    return Settings(1, net_arch, "relu", learning_rate, 0.0, False, 0.0, True)


def new_dynamics(key: jax.Array, spec: EnvironmentSpec, settings: Settings) -> LearnedDynamics:
    """A model that knows nothing."""
    (observed,) = spec.observation_space.shape
    space = spec.action_space
    seen = observed + (int(space.n) if isinstance(space, spaces.Discrete) else math.prod(space.shape))
    ensemble = Ensemble(key, settings.members, seen, settings.net_arch, observed + 1, settings.activation)
    moments = RunningMoments.start((seen,)), RunningMoments.start((observed + 1,))
    given = GivenReward(spec.reward) if settings.reward == "given" else ()
    return LearnedDynamics(ensemble, adam().init(ensemble), *moments, given)


def inputs_of(space: Space, observation: jax.Array, action: jax.Array) -> jax.Array:
    """Observations and actions side by side ``[..., o + k]``."""
    return jnp.concatenate([observation, action_features(space, action)], axis=-1)


def outputs_of(steps: Step) -> jax.Array:
    """What is to be predicted of steps: changes of observations and, beside them, rewards ``[..., o + 1]``."""
    return jnp.concatenate([steps.next_observation - steps.observation, steps.reward[..., None]], axis=-1)


def target_of(dynamics: LearnedDynamics, steps: Step) -> jax.Array:
    """The same, standardised; not clipped, since a rare reward may be large."""
    return dynamics.outputs.normalize(outputs_of(steps), clip=jnp.inf)


def with_moments(dynamics: LearnedDynamics, space: Space, steps: Step) -> LearnedDynamics:
    """The model, whose statistics have taken in new steps ``[..., o]``."""
    return dynamics._replace(
        inputs=dynamics.inputs.merge(inputs_of(space, steps.observation, steps.action)),
        outputs=dynamics.outputs.merge(outputs_of(steps)),
    )


def learned(
    dynamics: LearnedDynamics, space: Space, steps: Step, key: jax.Array, settings: Settings
) -> tuple[LearnedDynamics, dict[str, jax.Array]]:
    """The model after a gradient step on ``steps`` ``[N, ...]``, and metrics.

    Each network is given as many steps, drawn from these with replacement: the bootstrap (Chua et al. 2018, section 4).
    """
    index = jax.random.randint(key, (settings.members, len(steps.reward)), 0, len(steps.reward))
    drawn = jax.tree.map(lambda leaf: leaf[index], steps)
    x = dynamics.inputs.normalize(inputs_of(space, drawn.observation, drawn.action))
    target = target_of(dynamics, drawn)
    ended = drawn.terminated.astype(jnp.float32)

    def loss(ensemble: Ensemble) -> tuple[jax.Array, dict[str, jax.Array]]:
        found = ensemble(x)
        if not settings.probabilistic:
            found = found._replace(log_variance=jnp.zeros_like(found.log_variance))
        likelihood = negative_log_likelihood(found, target, settings.nll_beta).mean(axis=1).sum()
        end = optax.sigmoid_binary_cross_entropy(found.end, ended).mean(axis=1).sum()
        bounds = BOUNDS_WEIGHT * (ensemble.max_log_variance - ensemble.min_log_variance).sum()
        total = likelihood + end * settings.learns_end + bounds * settings.probabilistic
        return total, {"model_loss": total, "model_error": ((found.mean - target) ** 2).mean(), "model_end_loss": end}

    (_, metrics), gradient = jax.value_and_grad(loss, has_aux=True)(dynamics.ensemble)
    given = adam(), settings.learning_rate, dynamics.ensemble, gradient, dynamics.optimizer, settings.weight_decay
    ensemble, optimizer = descend(*given)
    return dynamics._replace(ensemble=ensemble, optimizer=optimizer), metrics


def predicted(dynamics: LearnedDynamics, space: Space, observation: jax.Array, action: jax.Array) -> Prediction:
    """What each network says of observations ``[E, N, o]`` and actions ``[E, N, ...]``, standardised."""
    return dynamics.ensemble(dynamics.inputs.normalize(inputs_of(space, observation, action)))


def denormalized(dynamics: LearnedDynamics, output: jax.Array) -> jax.Array:
    """Changes and rewards ``[..., o + 1]`` in their own units."""
    return dynamics.outputs.mean + output * jnp.sqrt(dynamics.outputs.variance + 1e-8)


def imagined(
    dynamics: LearnedDynamics,
    space: Space,
    key: jax.Array,
    action: jax.Array,
    observation: jax.Array,
    settings: Settings,
) -> tuple[Outcome, jax.Array]:
    """What comes of actions ``[E, N, ...]``, by one network for each row: rewards and ends ``[E, N]``, and the next
    observations ``[E, N, o]``. They are drawn from what the networks predict where those are probabilistic; rewards
    and ends that are given follow from the observations."""
    found = predicted(dynamics, space, observation, action)
    output = found.mean
    if settings.probabilistic:
        output = output + jnp.exp(0.5 * found.log_variance) * jax.random.normal(key, output.shape)
    output = denormalized(dynamics, output)
    following = observation + output[..., :-1]
    if isinstance(dynamics.given, GivenReward):
        return Outcome(*dynamics.given(observation, action, following)), following
    ends = found.end > 0 if settings.learns_end else jnp.zeros(found.end.shape, bool)
    return Outcome(output[..., -1], ends), following


def open_loop(
    dynamics: LearnedDynamics, space: Space, observation: jax.Array, actions: jax.Array, settings: Settings
) -> Imagined:
    """What each network says comes of actions ``[H, B, ...]`` from observations ``[B, o]`` on, by its means."""

    def step(observation: jax.Array, action: jax.Array) -> tuple[jax.Array, Imagined]:
        action = jnp.broadcast_to(action, (settings.members, *action.shape))
        means = settings._replace(probabilistic=False)
        outcome, following = imagined(dynamics, space, jax.random.key(0), action, observation, means)
        return following, Imagined(following, *outcome)

    start = jnp.broadcast_to(observation, (settings.members, *observation.shape))
    steps = jax.tree.map(lambda leaf: leaf.swapaxes(0, 1), jax.lax.scan(step, start, actions)[1])
    return steps._replace(terminated=jnp.cumsum(steps.terminated, axis=1) > 0)


def model_metrics(dynamics: LearnedDynamics, space: Space, steps: Step, settings: Settings) -> dict[str, jax.Array]:
    """What ``diagnose`` reports of a learned model."""
    seen, action = (jnp.broadcast_to(x, (settings.members, *x.shape)) for x in (steps.observation, steps.action))
    found, target = predicted(dynamics, space, seen, action), target_of(dynamics, steps)
    error = found.mean - target
    metrics = {
        "model_error_ratio": (error.mean(axis=0) ** 2).mean() / jnp.maximum((target**2).mean(), 1e-8),
        "disagreement": found.mean.std(axis=0).mean(),
    }
    if settings.probabilistic:
        metrics["calibration"] = (jnp.abs(error) < jnp.exp(0.5 * found.log_variance)).mean()
    return metrics
