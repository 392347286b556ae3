"""Steps per second of random play in Go, games begun anew as they end: ours, or pgx's.

In the peer's virtual environment there is no Tegu: everything ours is imported only where it is needed.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from meter import Meter, report, settings

Step = Callable[[Any, Any], Any]  #: a state and a key to the next state
CHUNK = 64  #: steps of all games in one call


def ours(size: int, superko: bool) -> tuple[Callable[[Any], Any], Step]:
    """Our beginning of a game, and our step with a random legal move."""
    from tegu.core.runtime import configure_jax
    from tegu.environments.games.go import Go

    configure_jax()
    game = Go(size=size, superko=superko)

    def step(state: Any, key: Any) -> Any:
        reached = game.step(state, drawn(key, state["action_mask"]), key)
        fresh, _ = game.reset(key)
        return jax.tree.map(lambda new, old: jnp.where(reached.terminated, new, old), fresh, reached.state)

    return lambda key: game.reset(key)[0], step


def pgx(size: int, superko: bool) -> tuple[Callable[[Any], Any], Step]:
    """The same of pgx, which looks for superko always."""
    from pgx.go import Go

    game = Go(size=size)

    def step(state: Any, key: Any) -> Any:
        reached = game.step(state, drawn(key, state.legal_action_mask))
        return jax.tree.map(lambda new, old: jnp.where(reached.terminated, new, old), game.init(key), reached)

    return game.init, step


def drawn(key: Any, legal: Any) -> Any:
    """A random legal move."""
    return jax.random.categorical(key, jnp.where(legal, 0.0, -jnp.inf))


def main() -> None:
    given, meter = settings(), Meter()
    init, step = (ours if given["side"] == "ours" else pgx)(given["size"], given["superko"])
    batch, total = given["batch"], given["steps"]

    @jax.jit
    def played(states: Any, key: Any) -> Any:
        def forwards(states: Any, key: Any) -> tuple[Any, None]:
            return jax.vmap(step)(states, jax.random.split(key, batch)), None

        return jax.lax.scan(forwards, states, jax.random.split(key, CHUNK))[0]

    key = jax.random.key(given["seed"])
    states, done = jax.vmap(init)(jax.random.split(key, batch)), 0
    while done < total + total // 10:
        if done >= total // 10 and not meter.steps:
            meter.mark(done)
        states = jax.block_until_ready(played(states, jax.random.fold_in(key, done)))
        done += CHUNK * batch
    report(meter.result(done))


main()
