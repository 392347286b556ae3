"""PPO on CartPole with networks of one's own: an actor and a critic that also see the sines of what is observed."""

import equinox as eqx
import jax
import jax.numpy as jnp

import tegu


class WithSines(eqx.Module):
    """Observations [B, n] to policy outputs [B, A], or to values [B]."""

    mlp: eqx.nn.MLP

    def __call__(self, observation):
        x = jnp.concatenate([observation, jnp.sin(observation)], axis=-1)
        return jax.vmap(self.mlp)(x)  # Equinox's layers take one at a time


def with_sines(key, spec):
    actor_key, critic_key = jax.random.split(key)
    inputs, actions = 2 * spec.observation_space.shape[0], int(spec.action_space.n)
    actor = eqx.nn.MLP(inputs, actions, 64, 2, jnp.tanh, key=actor_key)
    critic = eqx.nn.MLP(inputs, "scalar", 64, 2, jnp.tanh, key=critic_key)
    return WithSines(actor), WithSines(critic)


if __name__ == "__main__":
    agent = tegu.train("CartPole-v1", "ppo", network=with_sines, steps=40_000)
    print(f"network: {agent.network}")
    print(f"mean return {agent.evaluate(episodes=50).mean:.0f} of 500")

    again = tegu.load("last", network=with_sines)  # the run knows the name alone
    print(f"loaded: {again!r}")
