"""``python -m benchmarks.mbmf``: what MBMF's agent earns after each stage, and fine-tuning alone in as many steps."""

import argparse
import json
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import tegu
from benchmarks import machine, report
from benchmarks.__main__ import RESULTS
from benchmarks.execution import ROOT
from benchmarks.scores import summary
from tegu.algorithms.mbmf import MODEL
from tegu.training.plan import make_plan
from tegu.training.stages import in_stages

ENVIRONMENTS = ("CartPole-v1", "Pendulum-v1")
ALONE = {"model_fraction": 0.0, "imitation_fraction": 0.0}  #: fine-tuning from the first step on, all else the same
EXPLAINED = (
    "MBMF with its presets, {steps} steps asked for, and the same without its first two stages (fine-tuning alone): "
    "greedy scores of {episodes} fresh episodes over {seeds} seeds. MPC plays {planned} with the dynamics as the first "
    "stage left them; steps are those up to the end of a stage. Seconds are those of training all seeds at once, "
    "compilation included: {seconds}."
)


class AfterImitation:
    """An observer of what is learned when the imitation ends, after ``every`` steps."""

    def __init__(self, every: int):
        self.every, self.learners = every, None

    def __call__(self, progress: Any, learners: Any) -> None:
        self.learners = learners if self.learners is None else self.learners


def scores(agent: tegu.Agent, episodes: int) -> dict[str, Any]:
    """The greedy score of each seed."""
    found = summary([float(score) for score in agent.evaluate(episodes).returns.mean(axis=-1)])
    print(agent, report.number(found["mean"]), flush=True)
    return found


def measured(environment: str, given: argparse.Namespace) -> tuple[dict[str, Any], dict[str, float]]:
    """Scores by what acts, and seconds of training."""
    asked = {"steps": given.steps, "seeds": given.seeds, "folder": None, "progress_bar": False}
    model, imitation, _ = in_stages(make_plan(environment, "mbmf", steps=given.steps))
    after_model, after_imitation = model.steps, model.steps + imitation.steps
    kept, began = AfterImitation(after_imitation), time.perf_counter()
    agent = tegu.train(environment, "mbmf", observers=kept, **asked)
    seconds = {"MBMF": time.perf_counter() - began}
    learners, algorithm = agent.learners, agent.algorithm
    controller = tegu.Agent(
        replace(algorithm, stage=MODEL), agent.spec, learners, agent.seeds, after_model, agent.source
    )
    table = {f"MPC, {after_model:,} steps": scores(controller, given.planned)}
    agent.now(kept.learners, after_imitation, agent.total)
    table[f"the policy after imitation, {after_imitation:,} steps"] = scores(agent, given.episodes)
    agent.now(learners, agent.total, agent.total)
    table[f"the policy after fine-tuning, {agent.total:,} steps"] = scores(agent, given.episodes)
    began = time.perf_counter()
    for steps in (after_imitation, agent.total):
        alone = tegu.train(environment, "mbmf", **asked | {"steps": steps}, **ALONE)
        table[f"fine-tuning alone, {alone.steps:,} steps"] = scores(alone, given.episodes)
    seconds["fine-tuning alone"] = time.perf_counter() - began
    return table, seconds


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mbmf", description=__doc__)
    parser.add_argument("--steps", type=int, default=40_000)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--episodes", type=int, default=100, help="of each policy")
    parser.add_argument("--planned", type=int, default=20, help="of MPC, whose episodes take longer")
    parser.add_argument("--only", nargs="+", metavar="ENV", choices=ENVIRONMENTS, default=ENVIRONMENTS)
    parser.add_argument("--output", type=Path, default=RESULTS, help=f"folder for the figures (default: {RESULTS})")
    given = parser.parse_args()
    tables, seconds = {}, {}
    record = {"case": "MBMF", **machine.surroundings("benchmarks.mbmf"), "tables": tables}
    for environment in given.only:
        tables[environment], took = measured(environment, given)
        seconds |= {f"{name} on {environment}": round(value) for name, value in took.items()}
    said = ", ".join(f"{name} {value:,}" for name, value in seconds.items())
    asked = {name: f"{getattr(given, name):,}" for name in ("steps", "seeds", "episodes", "planned")}
    record |= {"explained": EXPLAINED.format(**asked, seconds=said), "seconds": seconds}
    record["date"] = datetime.now(UTC).isoformat(timespec="seconds")
    (ROOT / given.output / report.MBMF).write_text(json.dumps(record, indent=1) + "\n")
    report.write(ROOT / given.output)


if __name__ == "__main__":
    main()
