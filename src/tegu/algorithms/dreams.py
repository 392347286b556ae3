"""What World Models learn and dream with: the losses of V and M, and episodes that are played in M alone."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from tegu.algorithms.base import Dream, Imagined, Metrics
from tegu.core.step import PyTree, Step
from tegu.nn.distributions import DiagonalGaussian
from tegu.nn.mixture_density import MixtureDensityRNN
from tegu.nn.recurrent import LSTMState
from tegu.nn.symlog import symexp, symlog
from tegu.nn.vae import VAE
from tegu.nn.world_model import drawn, first_image
from tegu.spaces.bounds import to_bounds
from tegu.spaces.features import features
from tegu.spaces.relaxed import action_features

DRAWS = 8  #: by ``imagined``, of what follows from each observation


class World(NamedTuple):
    """The paper's V and M."""

    vision: VAE
    memory: MixtureDensityRNN

    def action(self, action: PyTree) -> jax.Array:
        """What M sees of actions ``[..., *shape]`` as a policy chose them: features ``[..., A]``."""
        space = self.vision.spaces.action
        return action_features(space, to_bounds(space, action))


class Dreamt(NamedTuple):
    """One step of ``[B]`` dreams."""

    latent: jax.Array  #: ``[B, Z]``: of the next observation
    state: LSTMState  #: after the action
    reward: jax.Array
    terminated: jax.Array  #: bool


def vision_loss(
    vision: VAE, observation: PyTree, key: jax.Array, kl_tolerance: float | jax.Array
) -> tuple[jax.Array, Metrics]:
    """The loss of V on observations ``[N, *shape]``, and metrics.

    A divergence of up to ``kl_tolerance`` nats for each number of a latent vector costs nothing.
    """
    latents = vision(observation)
    error = vision.error(latents.sample(key), observation).mean()
    nothing = jnp.zeros_like(latents.mean)
    divergence = latents.kl_divergence(DiagonalGaussian(nothing, nothing))  # from standard normal numbers
    free = kl_tolerance * latents.mean.shape[-1]
    loss = error + jnp.maximum(divergence, free).mean()
    return loss, {"vision_loss": loss, "reconstruction_loss": error, "latent_kl": divergence.mean()}


def memory_loss(memory: MixtureDensityRNN, vision: VAE, steps: Step, key: jax.Array) -> tuple[jax.Array, Metrics]:
    """The loss of M on sequences of steps ``[T, B, ...]``, and metrics.

    The negative log-density of what is observed next (section A.2 of the paper), the squared error of rewards on a
    scale of logarithms, and the cross-entropy of the end. Latent vectors are drawn from what V says. Each step has its
    true next observation, so all count; where an episode begins within a sequence, the state is empty again.
    """
    key, next_key = jax.random.split(key)
    latent, next_latent = vision(steps.observation).sample(key), vision(steps.next_observation).sample(next_key)
    ended = steps.terminated | steps.truncated
    begins = jnp.concatenate([jnp.zeros_like(ended[:1]), ended[:-1]])
    found = memory.unroll(latent, World(vision, memory).action(steps.action), begins)
    losses = {
        "latent_loss": -found.latent.log_prob(next_latent).mean(),
        "reward_loss": ((found.reward - symlog(steps.reward)) ** 2).mean(),
        "end_loss": optax.sigmoid_binary_cross_entropy(found.end, steps.terminated.astype(jnp.float32)).mean(),
    }
    loss = sum(losses.values(), jnp.zeros(()))
    return loss, {"memory_loss": loss, **losses}


def step_in_dream(
    world: World, latent: jax.Array, state: LSTMState, action: PyTree, key: jax.Array, temperature: float | jax.Array
) -> Dreamt:
    """What M says comes of ``actions`` ``[..., *shape]``, drawn at a ``temperature``; the end is the likelier case."""
    state = world.memory(latent, world.action(action), state)
    found = world.memory.forecast(latent, state)
    latent = found.latent.at_temperature(temperature).sample(key)
    return Dreamt(latent, state, symexp(found.reward), found.end > 0)


def dreamt_episodes(
    world: World,
    policy: Callable[[jax.Array, LSTMState], PyTree],
    latent: jax.Array,
    n_steps: int,
    key: jax.Array,
    temperature: float | jax.Array,
) -> Step:
    """``n_steps`` steps ``[T, B]`` of dreams that begin with ``latent`` ``[B, Z]``, without observations and actions.

    What comes after the end of a dream means nothing.
    """

    def step(carry: tuple[jax.Array, LSTMState], key: jax.Array) -> tuple[Any, Step]:
        latent, state = carry
        now = step_in_dream(world, latent, state, policy(latent, state), key, temperature)
        nothing = jnp.zeros_like(now.terminated)
        return (now.latent, now.state), Step((), (), now.reward, (), now.terminated, nothing)

    start = latent, world.memory.lstm.start(len(latent))
    return jax.lax.scan(step, start, jax.random.split(key, n_steps))[1]


def open_loop(world: World, observation: jax.Array, actions: PyTree, key: jax.Array) -> Imagined:
    """``DRAWS`` dreams of what comes of ``actions`` ``[H, B, ...]`` from vectors ``[B, o]`` on, at a temperature of 1.

    Nothing is remembered of what came before the observation.
    """
    decoder: Any = world.vision.decoder
    shape = DRAWS, *observation.shape[:1]

    def step(carry: tuple[jax.Array, LSTMState], given: tuple[PyTree, jax.Array]) -> tuple[Any, Imagined]:
        action, key = given
        action = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (DRAWS, *leaf.shape)), action)
        now = step_in_dream(world, *carry, action, key, 1.0)
        seen = symexp(decoder.vector(now.latent))
        return (now.latent, now.state), Imagined(seen, now.reward, now.terminated)

    first = world.vision(observation).mean, world.memory.lstm.start(len(observation))
    start = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (*shape, *leaf.shape[1:])), first)
    keys = jax.random.split(key, len(jax.tree.leaves(actions)[0]))
    found = jax.lax.scan(step, start, (actions, keys))[1]
    ended = jnp.cumsum(found.terminated, axis=0) > 0
    return jax.tree.map(lambda leaf: leaf.swapaxes(0, 1), found._replace(terminated=ended))


def dream_of(
    world: World, observation: jax.Array, actions: jax.Array, seen: int, key: jax.Array, temperature: float | jax.Array
) -> Dream | None:
    """What V reconstructs of an episode of images ``[T + 1, *shape]``, and what M dreams at a ``temperature`` of the
    ``actions`` ``[T, ...]`` after ``seen`` of them. Latent vectors of what is seen are the means.

    None where no images are observed.
    """
    vision, memory = world
    image = first_image(vision.spaces.observation)
    if image is None:
        return None
    latent = vision(observation).mean
    actions = actions[:, None]

    def follow(state: LSTMState, given: tuple[jax.Array, jax.Array]) -> tuple[LSTMState, None]:
        return memory(*given, state), None

    def step(carry: tuple[jax.Array, LSTMState], given: tuple[PyTree, jax.Array]) -> tuple[Any, jax.Array]:
        action, key = given
        now = step_in_dream(world, *carry, action, key, temperature)
        return (now.latent, now.state), now.latent

    before, rest = actions[: seen - 1], actions[seen - 1 :]
    state = jax.lax.scan(follow, memory.lstm.start(1), (latent[: seen - 1, None], world.action(before)))[0]
    keys = jax.random.split(key, len(latent) - seen)
    dreamt = jax.lax.scan(step, (latent[seen - 1, None], state), (rest, keys))[1][:, 0]
    observed = image.of(features(vision.spaces.observation, observation))
    return Dream(observed, *(drawn(vision.decoder, image, each) for each in (latent, dreamt)))
