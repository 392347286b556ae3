"""What holds for all of our own environments alike."""

from functools import partial

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tegu.environments.base import Environment

OURS_ALONE = {
    "lizard",
    "BitFlip-v0",
    "TMaze-v0",
    "CartPolePixels-v0",
    "CartPoleSwingUp-v0",
    "Sokoban-7x7-v0",
    "MiniPacman-v0",
}


def random_actions(space, key, shape):
    if isinstance(space, gymnasium.spaces.Discrete):
        return jax.random.randint(key, shape, 0, int(space.n))
    return jax.random.uniform(key, (*shape, *space.shape), minval=space.low, maxval=space.high)


def rollout(environment, key, batch, steps):
    """Random actions in a batch of environments, a new episode begun wherever one terminated."""
    keys = jax.random.split(key, batch)
    state, first = jax.vmap(environment.reset)(keys)
    actions = random_actions(environment.action_space, key, (steps, batch))

    def advance(state, inputs):
        actions, key = inputs
        keys = jax.random.split(key, batch)
        timestep = jax.vmap(environment.step)(state, actions, keys)
        fresh, _ = jax.vmap(environment.reset)(keys)

        def restarted(new, old):
            return jnp.where(timestep.terminated.reshape((batch,) + (1,) * (new.ndim - 1)), new, old)

        return jax.tree.map(restarted, fresh, timestep.state), timestep

    return first, jax.lax.scan(advance, state, (actions, jax.random.split(key, steps)))[1]


@pytest.mark.slow
def test_a_compiled_batch_stays_inside_the_observation_space(environment):
    first, timesteps = jax.jit(lambda key: rollout(environment, key, batch=8, steps=250))(jax.random.key(0))
    observations = jax.tree.map(lambda one, more: np.concatenate([one[None], more]), first, timesteps.observation)
    space = environment.observation_space
    for index in np.ndindex(251, 8):
        observation = jax.tree.map(lambda leaf, index=index: leaf[index], observations)
        assert space.contains(observation), observation
    assert timesteps.reward.dtype == jnp.float32
    assert timesteps.reward.shape == timesteps.terminated.shape == (250, 8)
    assert timesteps.terminated.dtype == jnp.bool_
    assert np.isfinite(timesteps.reward).all()


@pytest.mark.slow
def test_an_environment_may_be_an_argument_of_a_compiled_function(environment):
    if environment.id.startswith("MinAtar/"):
        pytest.skip("in test_minatar.py, which has compiled it already: uncompiled it takes seconds")
    key = jax.random.key(1)
    action = random_actions(environment.action_space, key, ())

    @eqx.filter_jit
    def run(environment, key):
        return environment.step(environment.reset(key)[0], action, key)

    state, _ = environment.reset(key)
    ours, compiled = environment.step(state, action, key), run(environment, key)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-6, atol=1e-7), ours, compiled)


def test_a_method_can_be_compiled_as_it_is(environment):
    """``jax.jit`` keeps what it compiled under the hash of the method, so of the environment."""
    key = jax.random.key(2)
    state, _ = jax.jit(environment.reset).lower(key).out_info
    jax.jit(environment.step).lower(state, random_actions(environment.action_space, key, ()), key)
    assert hash(environment) == hash(jax.tree.map(lambda leaf: leaf, environment))


def test_agrees_with_what_gymnasium_registers(environment):
    if environment.id in OURS_ALONE or environment.id.startswith("MinAtar/"):
        pytest.skip("not in Gymnasium")
    theirs = gymnasium.make(environment.id)
    assert environment.max_episode_steps == gymnasium.spec(environment.id).max_episode_steps
    assert environment.observation_space == theirs.observation_space
    assert environment.action_space == theirs.action_space


@pytest.mark.slow
def test_a_state_told_by_an_observation_goes_on_in_the_same_way(environment):
    """Where ``state_of`` says what state was observed, steps from it are steps from the state itself."""
    state, observation = environment.reset(jax.random.key(3))
    if type(environment).state_of is Environment.state_of:
        with pytest.raises(AttributeError, match="its observations do not tell its state"):
            environment.state_of(observation)
        return

    def both(state, inputs):
        action, key = inputs
        real = environment.step(state, action, key)
        told = environment.step(environment.state_of(real.observation), action, key)
        return real.state, (environment.step(real.state, action, key), told)

    keys = jax.random.split(jax.random.key(4), 60)
    actions = random_actions(environment.action_space, jax.random.key(5), (60,))
    _, (real, told) = jax.jit(lambda state: jax.lax.scan(both, state, (actions, keys)))(state)
    for name in ("observation", "reward", "terminated"):
        np.testing.assert_allclose(getattr(told, name), getattr(real, name), rtol=1e-3, atol=1e-3)
