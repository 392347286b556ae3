"""A deterministic policy whose actions a critic can be differentiated by."""

import equinox as eqx
import jax
import jax.numpy as jnp

from tegu.core.spec import Spaces
from tegu.core.step import PyTree
from tegu.nn.custom import CustomNetwork
from tegu.nn.mlp import MLP
from tegu.spaces.relaxed import RelaxedActions


class RelaxedPolicy(eqx.Module):
    """One agent's policy, an ensemble of ``K`` networks of which an episode uses one."""

    members: tuple[MLP | CustomNetwork, ...]
    spaces: Spaces = eqx.field(static=True)  #: the agent's own
    actions: RelaxedActions = eqx.field(static=True)

    def __call__(self, x: PyTree, member: jax.Array | None) -> jax.Array:
        """What the network puts out ``[B, n]``; ``member`` ``[B]`` says which network.

        ``x`` are features ``[B, m]``, or observations ``[B, *shape]`` for a person's own network.
        """
        if member is None:
            return self.members[0](x)
        use = jax.nn.one_hot(member, len(self.members))
        return (use[..., None] * jnp.stack([network(x) for network in self.members], axis=1)).sum(axis=1)
