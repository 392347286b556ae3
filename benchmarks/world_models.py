"""``python -m benchmarks.world_models``: what M is good for in World Models, and what dreams are worth outside."""

import argparse
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import tegu
from benchmarks import machine, report
from benchmarks.__main__ import RESULTS
from benchmarks.execution import ROOT
from benchmarks.scores import summary

ENVIRONMENT = "CartPolePixels-v0"
CONTROLS: dict[str, tuple[dict[str, Any], bool]] = {
    "V only": ({"controller_input": "z"}, False),
    "V and an untrained M": ({}, False),
    "V and M": ({}, True),
}  #: settings, and whether M is learned
TEMPERATURES = (0.1, 0.5, 1.0, 1.3)
DREAMS = {"dream": True, "n_envs": 16, "gradient_steps": 16, "dream_generations": 20}
EXPLAINED = (
    "World Models on {environment} with its preset: greedy scores of {episodes} fresh episodes over {seeds} seeds, of "
    "at most 200 each. V and, where it is trained, M learn from {model_steps} random steps each, C in the environment "
    "from {controller_steps}, or in dreams at a temperature: from {dream_steps} random steps for each of V and M, with "
    "16 gradient steps in each round, and {generations} generations. What is dreamt is the mean return of the members "
    "of the last 20. Seconds are those of training all seeds at once, compilation included: {seconds}."
)


class Halfway:
    """An observer of what is learned after ``every`` steps, the first time."""

    def __init__(self, every: int):
        self.every, self.learners = every, None

    def __call__(self, progress: Any, learners: Any) -> None:
        self.learners = learners if self.learners is None else self.learners


def trained(seeds: int, shares: dict[str, int], **settings: Any) -> tuple[tegu.Agent, float, list[Any]]:
    """An agent whose stages have so many steps, the seconds it took, and its metrics ``[S]`` at the end."""
    steps, last = sum(shares.values()), list[Any]()

    def keep(progress: Any) -> None:
        if progress.metrics and "train/fitness_mean" in progress.metrics[0]:
            last[:] = progress.metrics

    fractions = {f"{stage}_fraction": shares[stage] / steps for stage in ("vision", "memory")}
    asked = {"steps": steps, "seeds": seeds, "folder": None, "progress_bar": False, "callbacks": keep}
    began = time.perf_counter()
    agent = tegu.train(ENVIRONMENT, "world-models", **asked, **fractions, **settings)
    return agent, time.perf_counter() - began, last


def scores(agent: tegu.Agent, episodes: int) -> dict[str, Any]:
    """The greedy score of each seed."""
    found = summary([float(score) for score in agent.evaluate(episodes).returns.mean(axis=-1)])
    print(agent, report.number(found["mean"]), flush=True)
    return found


def with_controls(given: argparse.Namespace, seconds: dict[str, float]) -> dict[str, Any]:
    """Scores by what the controller sees, halfway and at the end."""
    table = {}
    for label, (settings, learned) in CONTROLS.items():
        shares = {"vision": given.model_steps, "memory": given.model_steps * learned}
        shares["controller"] = given.controller_steps
        kept = Halfway(shares["vision"] + shares["memory"] + given.controller_steps // 4)
        agent, seconds[label], _ = trained(given.seeds, shares, observers=kept, **settings)
        learners, steps = agent.learners, agent.steps
        agent.now(kept.learners, kept.every, agent.total)
        table[f"{label}, a quarter of the steps"] = scores(agent, given.episodes)
        agent.now(learners, steps, agent.total)
        table[label] = scores(agent, given.episodes)
    return table


def over_temperatures(given: argparse.Namespace, seconds: dict[str, float]) -> dict[str, Any]:
    """Scores in dreams and in the environment."""
    table = {}
    per_rollout = DREAMS["n_envs"] * 200
    shares = {"vision": given.dream_steps, "memory": given.dream_steps}
    shares["controller"] = given.generations // DREAMS["dream_generations"] * per_rollout
    for temperature in given.temperatures:
        label = f"temperature {temperature:g}"
        settings = DREAMS | {"temperature": temperature, "log_interval": per_rollout}
        agent, seconds[label], last = trained(given.seeds, shares, **settings)
        table[f"{label}, dreamt"] = summary([float(metrics["train/fitness_mean"]) for metrics in last])
        table[f"{label}, in the environment"] = scores(agent, given.episodes)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.world_models", description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--model-steps", type=int, default=14_000, help="for each of V and M")
    parser.add_argument("--controller-steps", type=int, default=280_000)
    parser.add_argument("--dream-steps", type=int, default=24_000, help="for each of V and M, where C is to dream")
    parser.add_argument("--generations", type=int, default=100, help="that are dreamt")
    parser.add_argument("--temperatures", type=float, nargs="+", default=TEMPERATURES)
    parser.add_argument("--episodes", type=int, default=100, help="of each policy")
    parser.add_argument("--output", type=Path, default=RESULTS, help=f"folder for the figures (default: {RESULTS})")
    given, seconds = parser.parse_args(), dict[str, float]()
    if given.generations < DREAMS["dream_generations"]:
        parser.error(f"--generations must be at least {DREAMS['dream_generations']}, those of one rollout")
    record = {"case": "World Models", **machine.surroundings("benchmarks.world_models")}
    controls = with_controls(given, seconds)
    record["tables"] = {"what C sees": controls, "dreams": over_temperatures(given, seconds)}
    numbers = ("seeds", "model_steps", "controller_steps", "dream_steps", "generations", "episodes")
    asked = {name: f"{getattr(given, name):,}" for name in numbers}
    said = ", ".join(f"{name} {round(value):,}" for name, value in seconds.items())
    record |= {"explained": EXPLAINED.format(environment=ENVIRONMENT, **asked, seconds=said)}
    record |= {"seconds": {name: round(value) for name, value in seconds.items()}}
    record["date"] = datetime.now(UTC).isoformat(timespec="seconds")
    (ROOT / given.output / report.WORLD_MODELS).write_text(json.dumps(record, indent=1) + "\n")
    report.write(ROOT / given.output)


if __name__ == "__main__":
    main()
