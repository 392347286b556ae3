"""``python -m benchmarks.hide_and_seek``: do seekers find and hiders hide, in the small world of hide-and-seek?"""

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
EXPLAINED = (
    "IPPO on {environment} with its preset, {steps:,} steps in each of {seeds} seeds ({minutes:.0f} minutes for all): "
    "share of the time after the preparation in which the seeker sees the hider, over {games:,} games, by who plays."
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
    record["explained"] = EXPLAINED.format(**about, minutes=seconds / 60)
    record |= {"tables": {"share of the time seen": table}, "seconds": seconds}
    record["date"] = datetime.now(UTC).isoformat(timespec="seconds")
    (ROOT / given.output / report.HIDE_AND_SEEK).write_text(json.dumps(record, indent=1) + "\n")
    report.write(ROOT / given.output)


if __name__ == "__main__":
    main()
