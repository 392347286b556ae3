"""An algorithm of one's own: REINFORCE (Williams 1992) with a linear policy, trained on CartPole."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

import tegu
from tegu.nn.distributions import Categorical
from tegu.returns import gae


class Learner(NamedTuple):
    weight: jax.Array  # [n, A]: all that learning changes


class Reinforce(tegu.Algorithm):
    """Actions are made more likely by the return that followed them, less the mean."""

    learning_rate: float = 0.3  #: learning rate
    gamma: float = 0.98  #: discount factor
    n_steps: int = eqx.field(static=True, default=256)  #: steps per environment between two updates

    @property
    def experience(self):
        return tegu.Rollout(self.n_steps)

    def init(self, key, spec):
        return Learner(jnp.zeros((spec.observation_space.shape[0], int(spec.action_space.n))))

    def act(self, learner, observation, memory, key, *, explore):
        policy = Categorical(observation @ learner.weight)
        return tegu.Decision(policy.sample(key) if explore else policy.mode(), memory)

    def update(self, learner, batch, key):
        """Learn from a rollout [T, B, ...]. With no value function, GAE with lambda 1 is the return."""
        none = jnp.zeros_like(batch.reward)
        returns = gae(batch.reward, none, none, batch.terminated, batch.truncated, self.gamma, 1.0)
        advantage = (returns - returns.mean()) / (returns.std() + 1e-8)

        def loss(weight):
            return -(Categorical(batch.observation @ weight).log_prob(batch.action) * advantage).mean()

        value, gradient = jax.value_and_grad(loss)(learner.weight)
        return tegu.Update(Learner(learner.weight - self.learning_rate * gradient), {"loss": value})


if __name__ == "__main__":
    agent = tegu.train("CartPole-v1", Reinforce(learning_rate=0.5), steps=200_000, n_envs=8)
    print(f"mean return {agent.evaluate(episodes=50).mean:.0f} of 500")
    print(f"loaded: {tegu.load('last', algorithm=Reinforce)!r}")
