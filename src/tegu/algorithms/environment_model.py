"""Models of environments with vectors or planes for observations: what comes of an action, and how that is learned.

Observations are features ``[..., n]`` here: of planes all cells in a row, of whole numbers one-hot vectors.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from gymnasium import spaces

from tegu.algorithms.base import Imagined, Metrics
from tegu.algorithms.learned_dynamics import (
    LearnedDynamics,
    Settings,
    imagined,
    learned,
    new_dynamics,
    with_moments,
)
from tegu.algorithms.minibatches import epochs
from tegu.core.spec import EnvironmentSpec, Spaces
from tegu.core.step import PyTree, Step
from tegu.nn.imagination import Rollouts
from tegu.nn.optimizers import adam, descend
from tegu.nn.planes import PlanesModel, planes_of, shaped
from tegu.search.shooting import Outcome
from tegu.spaces.features import features, n_features
from tegu.spaces.relaxed import action_features


class LearnedPlanes(NamedTuple):
    """A model of an environment whose observations are planes."""

    network: PlanesModel
    optimizer: optax.OptState


EnvironmentModel = LearnedPlanes | LearnedDynamics
Transition = Callable[[jax.Array, jax.Array], tuple[Outcome, jax.Array]]
"""Features ``[N, n]`` and the environment's actions ``[N]`` to what comes of them ``[N]``, and the next features."""


def new_model(key: jax.Array, spec: EnvironmentSpec, channels: int, settings: Settings) -> EnvironmentModel:
    """A model that knows nothing, of planes with ``channels`` filters in each layer, of vectors as ``settings`` say."""
    planes, actions = planes_of(spec.observation_space), int(spec.action_space.n)
    if planes is not None:
        network = PlanesModel(key, planes, actions, channels)
        return LearnedPlanes(network, adam().init(network))
    vectors = spaces.Box(-np.inf, np.inf, (n_features(spec.observation_space),), np.float32)
    return new_dynamics(key, EnvironmentSpec(spec.id, vectors, spec.action_space, spec.n_envs), settings)


def transition(
    model: EnvironmentModel, observed: spaces.Space, acted: spaces.Discrete, settings: Settings
) -> Transition:
    """What a model says comes of actions. Planes are the probabilities of their cells."""

    def of_planes(x: jax.Array, action: jax.Array) -> tuple[Outcome, jax.Array]:
        assert isinstance(model, LearnedPlanes)
        cells, reward, end = model.network(shaped(planes_of(observed), x), action_features(acted, action))
        return Outcome(reward, end > 0), jax.nn.sigmoid(cells).reshape(x.shape)

    def of_vectors(x: jax.Array, action: jax.Array) -> tuple[Outcome, jax.Array]:
        assert isinstance(model, LearnedDynamics)
        found = imagined(model, acted, jax.random.key(0), action[None], x[None], settings)
        return jax.tree.map(lambda leaf: leaf[0], found)

    return of_planes if isinstance(model, LearnedPlanes) else of_vectors


def unchanged(x: jax.Array, action: jax.Array) -> tuple[Outcome, jax.Array]:
    """The copy model (Weber et al. 2017, section 4.1): the next observation is the present one, and nothing is paid."""
    return Outcome(jnp.zeros(len(x)), jnp.zeros(len(x), bool)), x


def rollouts(
    transition: Transition,
    policy: Callable[[jax.Array], jax.Array],
    x: jax.Array,
    acted: spaces.Discrete,
    length: int,
    key: jax.Array,
    alike: bool = False,
) -> Rollouts:
    """What is imagined from features ``[B, n]``: after each first action, ``length`` steps in all, as the ``policy``
    goes on, whose logits ``[N, A]`` are of features ``[N, n]`` (Weber et al. 2017, figure 2a and 2b).

    Its actions are drawn, by the same random numbers for all observations if these are to be seen ``alike``. Where the
    episode has ended nothing changes any more, and nothing is paid.
    """
    batch, actions, start = len(x), int(acted.n), int(acted.start)
    first = jnp.tile(jnp.arange(start, start + actions, dtype=jnp.int32), batch)
    begin = jnp.repeat(x, actions, axis=0), first, jnp.zeros(batch * actions, bool)

    def step(carry: PyTree, key: jax.Array) -> tuple[PyTree, Rollouts]:
        x, action, over = carry
        outcome, following = transition(x, action)
        x = jnp.where(over[:, None], x, following)
        reward, over = jnp.where(over, 0.0, outcome.reward), over | outcome.terminated
        noise = jax.random.gumbel(key, (1 if alike else batch, actions, actions))
        drawn = (policy(x).reshape(batch, actions, actions) + noise).argmax(axis=-1).ravel()
        return (x, start + drawn.astype(jnp.int32), over), Rollouts(x, reward, over)

    found = jax.lax.scan(step, begin, jax.random.split(key, length))[1]  # [L, B * A, ...]
    return jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, 1).reshape((batch, actions, length, *leaf.shape[2:])), found)


def as_features(space: spaces.Space, steps: Step) -> Step:
    """Steps whose observations are features."""
    return steps._replace(
        observation=features(space, steps.observation), next_observation=features(space, steps.next_observation)
    )


def fitted(
    model: EnvironmentModel,
    seen: Spaces,
    steps: Step,
    key: jax.Array,
    n_epochs: int,
    batch_size: int,
    settings: Settings,
) -> tuple[EnvironmentModel, dict[str, jax.Array]]:
    """The model after ``n_epochs`` over minibatches of ``steps`` ``[N, ...]``, and the means of their metrics."""
    steps = as_features(seen.observation, steps)
    if isinstance(model, LearnedDynamics):
        model = with_moments(model, seen.action, steps)

    def minibatch(carry: PyTree, steps: Step) -> tuple[PyTree, Metrics]:
        model, key = carry
        if isinstance(model, LearnedDynamics):
            key, drawn = jax.random.split(key)
            model, metrics = learned(model, seen.action, steps, drawn, settings)
            return (model, key), metrics
        (_, metrics), gradient = jax.value_and_grad(planes_loss, has_aux=True)(model.network, seen, steps)
        network, state = descend(adam(), settings.learning_rate, model.network, gradient, model.optimizer)
        return (LearnedPlanes(network, state), key), metrics

    shuffle_key, key = jax.random.split(key)
    (model, _), metrics = epochs(minibatch, (model, key), steps._replace(extras=()), shuffle_key, n_epochs, batch_size)
    return model, metrics


def planes_loss(network: PlanesModel, seen: Spaces, steps: Step) -> tuple[jax.Array, dict[str, jax.Array]]:
    """How far the model is from ``steps`` ``[N, ...]``, whose observations are features, and metrics.

    The cross-entropy of each cell with what it becomes, which may be between 0 and 1, summed over the cells; half the
    squared error of the reward; the cross-entropy of the end.
    """
    planes = planes_of(seen.observation)
    x, target = shaped(planes, steps.observation), shaped(planes, steps.next_observation)
    cells, reward, end = network(x, action_features(seen.action, steps.action))
    cross_entropy = optax.sigmoid_binary_cross_entropy(cells, target).sum(axis=(-3, -2, -1)).mean()
    reward_loss = 0.5 * ((reward - steps.reward) ** 2).mean()
    end_loss = optax.sigmoid_binary_cross_entropy(end, steps.terminated.astype(jnp.float32)).mean()
    loss = cross_entropy + reward_loss + end_loss
    error = ((jax.nn.sigmoid(cells) - target) ** 2).mean()
    return loss, {"model_loss": loss, "model_error": error, "model_end_loss": end_loss}


def model_error_ratio(transition: Transition, space: spaces.Space, steps: Step) -> jax.Array:
    """The squared error of predicted observations of ``steps`` ``[N, ...]``, as a share of how much they change."""
    steps = as_features(space, steps)
    _, found = transition(steps.observation, steps.action)
    change = ((steps.next_observation - steps.observation) ** 2).mean()
    return ((found - steps.next_observation) ** 2).mean() / jnp.maximum(change, 1e-8)


def open_loop(transition: Transition, space: Any, observation: jax.Array, actions: jax.Array) -> Imagined | None:
    """What is predicted of actions ``[L, B]`` from observations ``[B, ...]`` on; None where these are no Box."""
    if not isinstance(space, spaces.Box):
        return None
    unit = 255.0 if space.dtype == np.uint8 else 1.0

    def step(carry: tuple[jax.Array, jax.Array], action: jax.Array) -> tuple[tuple[jax.Array, jax.Array], Imagined]:
        x, over = carry
        outcome, x = transition(x, action)
        over = over | outcome.terminated
        return (x, over), Imagined(unit * x.reshape(observation.shape), outcome.reward, over)

    begin = features(space, observation), jnp.zeros(len(observation), bool)
    found = jax.lax.scan(step, begin, actions)[1]
    return jax.tree.map(lambda leaf: leaf[None], found)
