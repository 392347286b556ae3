"""Simulations per second of Gumbel AlphaZero's search, and evaluations per second of its network alone: ours in any
game, or pgx with mctx in Connect Four.

In the peer's virtual environment there is no Tegu: everything ours is imported only where it is needed.
"""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from meter import Meter, report, settings

Evaluate = Callable[[Any], Any]  #: the network's part of a search: as many evaluations, on one batch


def ours(given: dict[str, Any]) -> tuple[Callable[[Any], Any], Evaluate]:
    """A search of opening positions of the ``game``, and the network alone on them."""
    import tegu
    from tegu.acting.jax_collector import start_episodes
    from tegu.core.runtime import configure_jax
    from tegu.training.plan import spec_of

    configure_jax()
    batch, simulations = given["batch"], given["simulations"]
    game = tegu.make(given["game"])
    algorithm = tegu.AlphaZero(width=given["width"], blocks=given["blocks"], network=given["network"], search="gumbel")
    learner = algorithm.init(jax.random.key(0), spec_of(given["game"], game, batch))
    positions = start_episodes(game, jax.random.key(1), batch).observation
    planes = jax.vmap(game.features)(positions)

    def search(key: Any) -> Any:
        return algorithm.plan(learner, positions, key, simulations=simulations, explore=True)

    return search, lambda key: evaluations(learner.network.network, planes, simulations)


def pgx_and_mctx(given: dict[str, Any]) -> tuple[Callable[[Any], Any], Evaluate]:
    """The same with pgx's game."""
    import mctx
    import pgx

    batch, simulations = given["batch"], given["simulations"]
    game = pgx.make("connect_four")
    network = residual_mlp(jax.random.key(0), 84, 7, given["width"], given["blocks"])
    states = jax.vmap(game.init)(jax.random.split(jax.random.key(1), batch))

    def masked(logits: Any, legal: Any) -> Any:
        return jnp.where(legal, logits, jnp.finfo(logits.dtype).min)

    def recurrent(parameters: Any, key: Any, action: Any, states: Any) -> tuple[Any, Any]:
        player = states.current_player
        states = jax.vmap(game.step)(states, action)
        logits, value = network(states.observation)
        reward = jnp.take_along_axis(states.rewards, player[:, None], axis=1)[:, 0]
        outcome = mctx.RecurrentFnOutput(
            reward=reward,
            discount=jnp.where(states.terminated, 0.0, -1.0),
            prior_logits=masked(logits, states.legal_action_mask),
            value=jnp.where(states.terminated, 0.0, value),
        )
        return outcome, states

    def search(key: Any) -> Any:
        logits, value = network(states.observation)
        root = mctx.RootFnOutput(prior_logits=logits, value=value, embedding=states)
        invalid = ~states.legal_action_mask
        return mctx.gumbel_muzero_policy(
            (), key, root, recurrent, num_simulations=simulations, invalid_actions=invalid
        ).action_weights

    return search, lambda key: evaluations(network, states.observation, simulations)


def evaluations(network: Callable[[Any], Any], planes: Any, n: int) -> Any:
    """``n`` evaluations of a batch, one after the other; each depends on the last, so that none is left out."""
    planes = planes.astype(jnp.float32)

    def evaluate(_: Any, total: Any) -> Any:
        return total + network(planes + 1e-9 * total[:, None, None, None])[1]

    return jax.lax.fori_loop(0, n, evaluate, jnp.zeros(len(planes)))


def residual_mlp(key: Any, inputs: int, actions: int, width: int, blocks: int) -> Callable[[Any], Any]:
    """Tegu's ``ResidualMLP`` in plain JAX, with random weights."""
    sizes = [(inputs, width), *[(width, width)] * (2 * blocks), (width, actions), (width, 1)]
    keys = jax.random.split(key, len(sizes))
    weights = [jax.random.normal(k, size) * (2 / size[0]) ** 0.5 for k, size in zip(keys, sizes, strict=True)]

    def normalized(x: Any) -> Any:
        centred = x - x.mean(axis=-1, keepdims=True)
        return centred * jax.lax.rsqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5)

    def network(planes: Any) -> tuple[Any, Any]:
        x = planes.astype(jnp.float32).reshape((len(planes), -1)) @ weights[0]
        for i in range(1, 2 * blocks + 1, 2):
            x = x + jax.nn.relu(normalized(x) @ weights[i]) @ weights[i + 1]
        x = jax.nn.relu(normalized(x))
        return 0.01 * (x @ weights[-2]), jnp.tanh(0.01 * (x @ weights[-1])[:, 0])

    return network


def seconds(function: Callable[[Any], Any], keys: Any) -> float:
    """The time of one call for each key."""
    began = time.perf_counter()
    for key in keys:
        jax.block_until_ready(function(key))
    return time.perf_counter() - began


def main() -> None:
    given, meter = settings(), Meter()
    search, evaluate = map(jax.jit, {"tegu": ours, "pgx + mctx": pgx_and_mctx}[given["side"]](given))
    keys = list(jax.random.split(jax.random.key(given["seed"]), given["searches"]))
    each = given["batch"] * given["simulations"]
    warm_up = keys[: max(len(keys) // 10, 1)]
    seconds(evaluate, warm_up)
    seconds(search, warm_up)
    meter.mark(len(warm_up) * each)
    searching = seconds(search, keys)
    result = meter.result((len(warm_up) + len(keys)) * each)
    evaluating = seconds(evaluate, keys)
    rate = len(keys) * each / evaluating
    report({**result, "outside_network": 1 - evaluating / searching, "evaluations_per_second": rate})


main()
