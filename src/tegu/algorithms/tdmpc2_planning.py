"""How TD-MPC2 plans in its latent model (Hansen et al. 2024, section 3.2)."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from tegu.algorithms.tdmpc2_model import LatentDynamics, logits_of, policy_of
from tegu.nn.mlp import MLP
from tegu.search.guided import Guided, explored_action, improved
from tegu.search.shooting import next_plan


class Planner(NamedTuple):
    """What plans are made with, from one latent state ``[n]``."""

    model: LatentDynamics
    policy: MLP
    critics: MLP  #: those whose mean value counts
    gamma: Any
    n_proposals: int  #: sequences of the policy
    settings: Guided

    def decide(self, state: jax.Array, mean: jax.Array, key: jax.Array, explore: bool) -> tuple[jax.Array, jax.Array]:
        """An action ``[k]``, and the mean ``[H, k]`` with which the next plan begins; this one begins with ``mean``."""
        policy_key, plan_key, action_key = jax.random.split(key, 3)
        proposals = self.proposals(state, len(mean), policy_key)
        found = improved(partial(self.returns, state), mean, proposals, plan_key, self.settings)
        plan: Any = found.plan
        action = explored_action(found, action_key) if explore else plan.mean[0]
        following: Any = next_plan(plan)
        return action, following.mean

    def proposals(self, state: jax.Array, horizon: int, key: jax.Array) -> jax.Array:
        """Actions ``[H, n_proposals, k]`` that the policy takes in the model."""
        states = jnp.broadcast_to(state, (self.n_proposals, *state.shape))

        def step(states: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
            action = policy_of(self.policy, states).sample(key)
            return self.model.next(states, action), action

        return jax.lax.scan(step, states, jax.random.split(key, horizon))[1]

    def returns(self, state: jax.Array, key: jax.Array, actions: jax.Array) -> jax.Array:
        """What sequences of actions ``[H, N, k]`` earn in the model, and then by the critics with the policy's action:
        ``[N]`` (equation 6). After the end of an episode nothing follows."""
        model, n = self.model, actions.shape[1]

        def step(carry: Any, action: jax.Array) -> tuple[Any, None]:
            states, discount, total = carry
            total = total + discount * model.reward_of(states, action)
            states = model.next(states, action)
            return (states, jnp.where(model.ends(states), 0.0, self.gamma * discount), total), None

        start = jnp.broadcast_to(state, (n, *state.shape)), jnp.ones(n), jnp.zeros(n)
        (states, discount, total), _ = jax.lax.scan(step, start, actions)
        action = policy_of(self.policy, states).sample(key)
        later = model.scalar(logits_of(self.critics, states, action)).mean(axis=0)
        return total + discount * later
