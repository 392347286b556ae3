"""A multi-agent environment in pure JAX: one agent sees the goal and only speaks, the other walks and only listens."""

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp

import tegu
from tegu.check import check


class Cave(tegu.Environment):
    """The caller sees where on a line the treasure lies and says one of three words. The walker hears the last one."""

    id: str = eqx.field(static=True, kw_only=True, default="Cave")
    max_episode_steps: int = eqx.field(static=True, kw_only=True, default=10)

    @property
    def agents(self):
        return ("caller", "walker")

    @property
    def observation_space(self):  # a Dict with an entry for each agent; so are observations and rewards
        return gymnasium.spaces.Dict(caller=gymnasium.spaces.Box(-1, 1, (1,)), walker=gymnasium.spaces.Box(-2, 2, (4,)))

    @property
    def action_space(self):
        return gymnasium.spaces.Dict(caller=gymnasium.spaces.Discrete(3), walker=gymnasium.spaces.Box(-1, 1, (1,)))

    def reset(self, key):
        treasure = jax.random.uniform(key, minval=-1, maxval=1)
        state = {"treasure": treasure, "place": jnp.zeros(()), "call": jnp.zeros(3)}
        return state, self.observe(state)

    def step(self, state, action, key):
        place = jnp.clip(state["place"] + 0.5 * action["walker"][0], -2, 2)
        state = state | {"place": place, "call": jax.nn.one_hot(action["caller"], 3)}
        reward = -self.measures(state)["distance"]
        return tegu.Timestep(state, self.observe(state), dict.fromkeys(self.agents, reward), jnp.bool_(False))

    def observe(self, state):
        walker = jnp.concatenate([state["place"][None], state["call"]])
        return {"caller": state["treasure"][None], "walker": walker}

    def measures(self, state):  # what an evaluation reports beside rewards
        return {"distance": jnp.abs(state["treasure"] - state["place"])}


if __name__ == "__main__":
    print(check(Cave()))
    settings = {"steps": 60_000, "n_envs": 16, "n_steps": 50, "batch_size": 200, "learning_rate": 3e-3, "gamma": 0.9}
    agent = tegu.train(Cave(), "mappo", **settings)
    distance = agent.evaluate(episodes=200).measures["distance/end"].mean()
    print(f"\nthe walker ends {distance:.2f} from the treasure, without calls it would be at least 0.5")
