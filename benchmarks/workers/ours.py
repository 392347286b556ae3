"""One of Tegu's loops, driven in chunks as the trainer drives it."""

from functools import partial
from typing import Any

import gymnasium
from meter import Meter, report, settings

import tegu
from tegu.environments.adapters.gymnasium import GymnasiumEnvironments
from tegu.training.dealt import DealtLoop
from tegu.training.fused import FusedLoop
from tegu.training.host import HostLoop
from tegu.training.tally import summarize
from tegu.training.plan import spec_of
from tegu.training.trainer import Loop

CHUNKS = 10
ALGORITHMS = {"ppo": tegu.PPO, "dqn": tegu.DQN, "q-learning": tegu.QLearning, "alphazero": tegu.AlphaZero}


def native(kind: type[FusedLoop], name: str, algorithm: Any, n_envs: int, seed: int) -> FusedLoop:
    environment = tegu.make(name)
    return kind(algorithm, environment, spec_of(name, environment, n_envs), [seed])


def host(name: str, algorithm: Any, n_envs: int, seed: int) -> HostLoop:
    entropy = [[seed, index] for index in range(n_envs)]
    environments = GymnasiumEnvironments(lambda: gymnasium.make(name, disable_env_checker=True), entropy)
    return HostLoop(algorithm, environments, spec_of(name, environments, n_envs), [seed])


LOOPS = {"fused": partial(native, FusedLoop), "dealt": partial(native, DealtLoop), "host": host}


def main() -> None:
    given, meter = settings(), Meter()
    algorithm = ALGORITHMS[given["algorithm"]](**given["hyper_parameters"])
    loop: Loop = LOOPS[given["loop"]](given["environment"], algorithm, given["n_envs"], given["seed"])
    per_chunk = max(given["steps"] // CHUNKS // loop.steps_per_iteration, 1)
    per_chunk_steps = per_chunk * loop.steps_per_iteration
    total = (CHUNKS + 1) * per_chunk_steps

    state = loop.start()
    loop.compile(state)
    state, tally = loop.chunk(state, per_chunk, total)
    meter.mark(per_chunk_steps)
    for _ in range(CHUNKS):
        state, tally = loop.chunk(state, per_chunk, total)
    report(meter.result(total, episode_reward=summarize(tally)[0].get("rollout/ep_rew_mean")))
    loop.close()


main()
