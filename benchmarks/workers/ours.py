"""One of Tegu's loops, driven in chunks as the trainer drives it."""

from typing import Any

import gymnasium
from meter import Meter, report, settings

import tegu
from tegu.acting.multicore_collector import MulticoreCollector
from tegu.core.runtime import configure_jax
from tegu.environments.adapters.gymnasium import GymnasiumEnvironments
from tegu.environments.make import find
from tegu.training.compiled import Programs
from tegu.training.fused import FusedLoop
from tegu.training.loops import host_loop
from tegu.training.plan import spec_of
from tegu.training.split import SplitLoop
from tegu.training.tally import summarize
from tegu.training.trainer import Loop

CHUNKS = 10
ALGORITHMS = {
    "ppo": tegu.PPO,
    "dqn": tegu.DQN,
    "pqn": tegu.PQN,
    "q-learning": tegu.QLearning,
    "alphazero": tegu.AlphaZero,
}
WRAPPED = {"protocol": "nature", "use_fire_reset": True}  #: what Stable-Baselines3's ``AtariWrapper`` does to a game


def fused(name: str, algorithm: Any, n_envs: int, seed: int) -> FusedLoop:
    environment = tegu.make(name)
    return FusedLoop(algorithm, environment, spec_of(name, environment, n_envs), [seed])


def multicore(name: str, algorithm: Any, n_envs: int, seed: int) -> SplitLoop:
    environment = tegu.make(name)
    programs = Programs(algorithm, spec_of(name, environment, n_envs))
    return SplitLoop(programs, {seed: MulticoreCollector(algorithm, programs.shapes, environment, n_envs)})


def host(name: str, algorithm: Any, n_envs: int, seed: int) -> SplitLoop:
    entropy = [[seed, index] for index in range(n_envs)]
    environments = GymnasiumEnvironments(lambda: gymnasium.make(name, disable_env_checker=True), entropy)
    return host_loop(algorithm, spec_of(name, environments, n_envs), {seed: environments})


def atari(name: str, algorithm: Any, n_envs: int, seed: int) -> SplitLoop:
    environments = find(name, options=WRAPPED).environments([[seed, index] for index in range(n_envs)])
    return host_loop(algorithm, spec_of(name, environments, n_envs), {seed: environments})


LOOPS = {"fused": fused, "dealt": multicore, "host": host, "atari": atari}


def main() -> None:
    configure_jax()
    given, meter = settings(), Meter()
    algorithm = ALGORITHMS[given["algorithm"]](**given["hyper_parameters"])
    loop: Loop = LOOPS[given["loop"]](given["environment"], algorithm, given["n_envs"], given["seed"])
    per_chunk = max(given["steps"] // CHUNKS // loop.steps_per_iteration, 1)
    per_chunk_steps = per_chunk * loop.steps_per_iteration
    total = (CHUNKS + 1) * per_chunk_steps

    state = loop.start()
    loop.compile(state, 0)
    steps = 0
    while steps < total:  # a chunk is shorter where it ends a warm-up
        state, tally = loop.chunk(state, per_chunk, steps, total)
        before, steps = steps, steps + int(tally.iterations[0]) * loop.steps_per_iteration
        if before < per_chunk_steps <= steps:
            meter.mark(steps)
    report(meter.result(steps, episode_reward=summarize(tally)[0].get("rollout/ep_rew_mean")))
    loop.close()


main()
