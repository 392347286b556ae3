"""Networks that judge positions of board games: by a policy, a value, and auxiliary heads."""

from collections.abc import Callable, Collection
from typing import Any

import equinox as eqx
import jax
import numpy as np
from gymnasium import spaces

from tegu.algorithms.self_play_targets import auxiliary_heads, expected_end
from tegu.core.errors import TeguError
from tegu.core.spec import EnvironmentSpec
from tegu.environments.games.base import Game, Position
from tegu.nn.custom import CustomNetwork, Signature, check_custom, custom_networks, network_name
from tegu.nn.residual import FullyConv, ResidualConv, ResidualMLP, moves_are_points, policy_and_value

NETWORKS: dict[str, type[ResidualMLP] | type[ResidualConv]] = {
    "mlp": ResidualMLP,
    "conv": ResidualConv,
    "fully_conv": FullyConv,
}


class PolicyValue(eqx.Module):
    """A network that judges positions of a game: it always sees them from the side of the player to move."""

    network: ResidualMLP | ResidualConv | CustomNetwork
    game: Game = eqx.field(static=True)
    auxiliary: dict[str, Any] = eqx.field(default_factory=dict)  #: heads that are only learned from, by name

    def __call__(self, positions: Position) -> tuple[jax.Array, jax.Array]:
        """Logits ``[B, A]`` and values ``[B]`` in [-1, 1] of positions ``[B, ...]``."""
        return self.network(jax.vmap(self.game.features)(positions))

    def predict(self, planes: jax.Array) -> tuple[jax.Array, jax.Array, dict[str, jax.Array]]:
        """Logits, values and what the auxiliary heads say of ``planes`` ``[B, H, W, C]``."""
        if not self.auxiliary:
            return (*self.network(planes), {})
        assert not isinstance(self.network, CustomNetwork)
        seen = self.network.trunk(planes)
        return (*policy_and_value(self.network, seen), {name: head(seen) for name, head in self.auxiliary.items()})

    def expected_end(self, positions: Position) -> dict[str, jax.Array]:
        """What the auxiliary heads expect of the end of the game, as in ``self_play_targets.expected_end``."""
        planes = jax.vmap(self.game.features)(positions)
        height, width = planes.shape[1:3]
        return expected_end(self.predict(planes)[2], (height, width))


def policy_value(
    network: Callable[..., Any] | str,
    key: jax.Array,
    spec: EnvironmentSpec,
    width: int,
    blocks: int,
    heads: Collection[str],
) -> PolicyValue:
    """A fresh network: one of ``NETWORKS`` by name, with auxiliary ``heads``, or a person's own, without."""
    planes = planes_spec(spec)
    if not isinstance(network, str):
        return PolicyValue(custom_networks(network, key, planes)[0], spec.model)
    shape, actions = planes.observation_space.shape, int(spec.action_space.n)
    made = NETWORKS[network](key, shape, actions, width, blocks)
    return PolicyValue(made, spec.model, auxiliary_heads(heads, key, made, shape, actions))


def check_policy_value(network: Callable[..., Any] | str, spec: EnvironmentSpec) -> None:
    """Raise ``TeguError`` unless ``policy_value`` can make such a network for the game."""
    planes, actions = planes_spec(spec).observation_space, int(spec.action_space.n)
    if not isinstance(network, str):
        if network_name(network) in NETWORKS:
            raise TeguError(f"AlphaZero has a network called {network_name(network)}: rename yours")
        check_custom("AlphaZero", network, planes_spec(spec), (Signature((planes,), ((actions,), ())),))
    elif network not in NETWORKS:
        choices = f"one of {', '.join(NETWORKS)}, or module:function"
        raise TeguError(f"AlphaZero: network must be {choices}, got {network!r}")
    elif NETWORKS[network] is FullyConv and not moves_are_points(planes.shape, actions):
        needed, points = "a move for each point of the board and at most a pass", " x ".join(map(str, planes.shape[:2]))
        raise TeguError(
            f"AlphaZero: network {network} needs {needed}, {spec.id} has {actions} moves on {points} points"
        )


def planes_spec(spec: EnvironmentSpec) -> EnvironmentSpec:
    """What a network knows of a game: the planes ``[H, W, C]`` that it sees in place of a position, and the moves."""
    _, position = jax.eval_shape(spec.model.reset, jax.random.key(0))
    planes = jax.eval_shape(spec.model.features, position)
    box = spaces.Box(-np.inf, np.inf, planes.shape, np.float32)
    return EnvironmentSpec(spec.id, box, spec.action_space, spec.n_envs, model=spec.model)


def on_another_board(learners: Any, fresh: Any) -> Any:
    """The parameters of ``learners`` for the game of the ``fresh`` ones: a ``Phase``'s ``hand_over``.

    ``TeguError`` where they depend on the size of the board: with all networks but ``fully_conv``.
    """
    shapes, wanted = ([leaf.shape for leaf in jax.tree.leaves(each)] for each in (learners, fresh))
    if shapes != wanted:
        raise TeguError("the parameters do not fit another board: train with network fully_conv, alike in all phases")
    return jax.tree.unflatten(jax.tree.structure(fresh), jax.tree.leaves(learners))
