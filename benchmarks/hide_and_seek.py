"""``python -m benchmarks.hide_and_seek``: do seekers find and hiders hide, in the small world of hide-and-seek, and how
fast are its worlds?"""

import argparse
import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

import tegu
from benchmarks import machine, report
from benchmarks.__main__ import RESULTS
from benchmarks.execution import ROOT
from benchmarks.scores import summary
from tegu.algorithms.base import Algorithm, Learner

ENVIRONMENT, GAMES = "hide-and-seek-tiny", 1_000
PAIRS = {
    "random hiders, random seekers": ("hider_0", "seeker_0"),
    "random hiders, trained seekers": ("hider_0",),
    "trained hiders, random seekers": ("seeker_0",),
    "trained hiders, trained seekers": (),
}
SPEEDS = {"hide-and-seek-tiny": 512, "hide-and-seek-quadrant": 256, "hide-and-seek-rooms": 128}  # games at once
ROUNDS, ROUND_STEPS = 5, 50
EXPLAINED = (
    "IPPO on {environment} with its preset, {steps:,} steps in each of {seeds} seeds ({minutes:.0f} minutes for all): "
    "share of the time after the preparation in which the seeker sees the hider, over {games:,} games, by who plays. "
    "And steps/s of the environments alone at random actions, in one compiled program of {batches} games at once, over "
    "{rounds} rounds of {round_steps} steps of each."
)


def seen(
    environment: Any, algorithm: Algorithm, learner: Learner, random: tuple[str, ...], key: jax.Array
) -> jax.Array:
    """The share of the time after the preparation in which a seeker sees a hider; ``random``: who plays at random."""
    reset_key, key = jax.random.split(key)
    state, observation = jax.vmap(environment.reset)(jax.random.split(reset_key, GAMES))
    choices = {name: jnp.asarray(space.nvec) for name, space in environment.action_space.items()}

    def play(carry: Any, key: jax.Array) -> Any:
        state, observation, memory = carry
        act_key, random_key, step_key = jax.random.split(key, 3)
        decision = algorithm.act(learner, observation, memory, act_key, explore=True)
        action: dict[str, jax.Array] = dict(decision.action)
        for name, one in zip(random, jax.random.split(random_key, len(random) + 1), strict=False):
            drawn = jax.random.uniform(one, action[name].shape) * choices[name]
            action[name] = drawn.astype(action[name].dtype)
        timestep = jax.vmap(environment.step)(state, action, jax.random.split(step_key, GAMES))
        found = jax.vmap(environment.measures)(timestep.state)["seen"]
        return (timestep.state, timestep.observation, decision.memory), found

    start = state, observation, algorithm.begin(learner, reset_key, GAMES)
    _, found = jax.lax.scan(play, start, jax.random.split(key, environment.horizon))
    return found.mean() / (1 - environment.prep_fraction)


def speed(name: str, games: int) -> dict[str, Any]:
    """Environment steps/s, compilation aside."""
    environment = tegu.make(name)
    high = {agent: jnp.asarray(space.nvec) for agent, space in environment.action_space.items()}

    def play(state: Any, key: jax.Array) -> Any:
        action_key, step_key = jax.random.split(key)
        keys = dict(zip(high, jax.random.split(action_key, len(high)), strict=True))
        action = {agent: jax.random.randint(keys[agent], (games, len(high[agent])), 0, high[agent]) for agent in high}
        timestep = jax.vmap(environment.step)(state, action, jax.random.split(step_key, games))
        return timestep.state, jax.tree.map(jnp.sum, timestep.observation)  # so that it has to be computed

    run = jax.jit(lambda state, key: jax.lax.scan(play, state, jax.random.split(key, ROUND_STEPS)))
    state, _ = jax.jit(jax.vmap(environment.reset))(jax.random.split(jax.random.key(0), games))
    jax.block_until_ready(run(state, jax.random.key(0)))
    rates = []
    for number in range(ROUNDS):
        begun = time.perf_counter()
        jax.block_until_ready(run(state, jax.random.key(number)))
        rates.append(games * ROUND_STEPS / (time.perf_counter() - begun))
    found = summary(rates)
    print(name, report.number(found["mean"]), "steps/s", flush=True)
    return found


def measured(steps: int, seeds: int) -> tuple[Mapping[str, Any], float]:
    """Scores of all pairs, and the seconds of the training."""
    begun = time.perf_counter()
    agent = tegu.train(ENVIRONMENT, "ippo", steps=steps, seeds=seeds, folder=None, progress_bar=False)
    seconds = time.perf_counter() - begun
    environment, tables = tegu.make(ENVIRONMENT), {}
    for label, random in PAIRS.items():
        played = jax.jit(lambda learner, key, random=random: seen(environment, agent.algorithm, learner, random, key))
        learners = [jax.tree.map(lambda leaf, seed=seed: leaf[seed], agent.learners) for seed in range(seeds)]
        keys = jax.random.split(jax.random.key(1), seeds)
        tables[label] = summary([float(played(learner, key)) for learner, key in zip(learners, keys, strict=True)])
        print(label, report.number(tables[label]["mean"]), tables[label]["interval"], flush=True)
    return tables, seconds


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hide_and_seek", description=__doc__)
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--output", type=Path, default=RESULTS, help=f"folder for the figures (default: {RESULTS})")
    given = parser.parse_args()
    record: dict[str, Any] = {"case": "hide-and-seek", **machine.surroundings("benchmarks.hide_and_seek")}
    table, seconds = measured(given.steps, given.seeds)
    about = {"environment": ENVIRONMENT, "steps": given.steps, "seeds": given.seeds, "games": GAMES}
    about |= {"batches": ", ".join(map(str, SPEEDS.values())), "rounds": ROUNDS, "round_steps": ROUND_STEPS}
    record["explained"] = EXPLAINED.format(**about, minutes=seconds / 60)
    speeds = {name: speed(name, games) for name, games in SPEEDS.items()}
    record |= {"tables": {"share of the time seen": table, "environment steps/s": speeds}, "seconds": seconds}
    record["date"] = datetime.now(UTC).isoformat(timespec="seconds")
    (ROOT / given.output / report.HIDE_AND_SEEK).write_text(json.dumps(record, indent=1) + "\n")
    report.write(ROOT / given.output)


if __name__ == "__main__":
    main()
