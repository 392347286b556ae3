"""Steps per second of a particle world with a random policy: ours in the fused loop, or the package ``mpe2``.

In the peer's virtual environment there is no Tegu: everything ours is imported only where it is needed.
"""

import importlib
from typing import Any, NamedTuple

from meter import Meter, report, settings

CHUNKS = 10


def ours(given: dict[str, Any], meter: Meter) -> int:
    import jax
    import jax.numpy as jnp

    import tegu
    from tegu.algorithms.base import named
    from tegu.core.runtime import configure_jax
    from tegu.experience.base import Rollout
    from tegu.training.fused import FusedLoop
    from tegu.training.plan import spec_of

    class Nothing(NamedTuple):
        updates: Any

    class Random(tegu.Algorithm):
        """Uniformly random actions, and nothing learned."""

        name: str = named("random")
        experience = Rollout(25)

        def init(self, key: Any, spec: Any) -> Any:
            return Nothing(jnp.zeros((), jnp.int32))

        def act(self, learner: Any, observation: Any, memory: Any, key: Any, *, explore: bool) -> Any:
            keys = jax.random.split(key, len(spaces))
            n = given["n_envs"]
            return tegu.Decision(
                {a: jax.random.randint(k, (n,), 0, int(s.n)) for k, (a, s) in zip(keys, spaces.items(), strict=True)}
            )

        def update(self, learner: Any, batch: Any, key: Any) -> Any:
            # something of every leaf, so that no part of the environment's work is left out
            seen = sum(leaf.astype(jnp.float32).sum() for leaf in jax.tree.leaves(batch))
            return tegu.Update(learner, {"seen": seen})

    configure_jax()
    environment = tegu.make(given["environment"])
    spaces = environment.action_space.spaces
    spec = spec_of(given["environment"], environment, given["n_envs"])
    loop = FusedLoop(Random(), environment, spec, [given["seed"]])
    iterations = given["steps"] // CHUNKS // loop.steps_per_iteration
    per_chunk = iterations * loop.steps_per_iteration
    state = loop.start()
    loop.compile(state, 0)
    for chunk in range(CHUNKS + 1):
        state, _ = loop.chunk(state, iterations, chunk * per_chunk, (CHUNKS + 1) * per_chunk)
        if chunk == 0:
            meter.mark(per_chunk)
    return (CHUNKS + 1) * per_chunk


def mpe2(given: dict[str, Any], meter: Meter) -> int:
    import numpy as np

    environment = importlib.import_module(f"mpe2.{given['environment']}").parallel_env(max_cycles=25)
    random = np.random.default_rng(given["seed"])
    environment.reset(seed=given["seed"])
    sizes = {agent: int(environment.action_space(agent).n) for agent in environment.possible_agents}

    def play(steps: int) -> None:
        for _ in range(steps):
            environment.step({agent: int(random.integers(n)) for agent, n in sizes.items()})
            if not environment.agents:
                environment.reset()

    warm_up = given["steps"] // 10
    play(warm_up)
    meter.mark(warm_up)
    play(given["steps"])
    return warm_up + given["steps"]


def main() -> None:
    given, meter = settings(), Meter()
    total = {"tegu": ours, "mpe2": mpe2}[given["side"]](given, meter)
    report(meter.result(total))


main()
