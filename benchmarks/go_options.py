"""``python -m benchmarks.go_options``: what each option of AlphaZero brings in Go, in Elo. Takes long.

AlphaZero learns without options, with each of them alone, and with all. Then each seed of these plays the same seed
without options, each opening twice. What was trained is kept in ``--runs``, finished or not, and what was measured in
the output: the next call goes on there, and measures anew only what was asked for otherwise.
"""

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import tegu
from benchmarks import machine, report
from benchmarks.__main__ import QUICK_RESULTS, RESULTS
from benchmarks.execution import ROOT
from benchmarks.scores import summary
from tegu.agents.agent import Agent
from tegu.arena.elo import ratings
from tegu.arena.match import play_match, points
from tegu.arena.players import AgentPlayer
from tegu.runs import Run, checkpoint
from tegu.training.plan import make_plan

import jax  # isort: skip - after tegu, which sets it up

GAME = "go-5x5"
BASE = "AlphaZero"
#: What all share, besides the game's preset
SHARED: dict[str, Any] = {"network": "conv", "width": 32, "blocks": 3}
_CAP = {"simulations": 64, "fast_simulations": 20}  # 31 a move, about as many as without
OPTIONS: dict[str, dict[str, Any]] = {
    BASE: {},
    "+ fully convolutional": {"network": "fully_conv"},
    "+ ownership": {"ownership_weight": 1.5},
    "+ score": {"score_weight": 0.5},
    "+ reply": {"reply_weight": 0.15},
    "+ playout cap": _CAP,
    "+ soft resignation": {"soft_resign": 0.9},
    "+ forks": {"fork_fraction": 0.05},
    "+ reanalysis": {"n_reanalysed": 16},  # searches besides those of the moves
    "+ averaged weights": {"ema": 0.99},
    "+ komi spread": {"environment_options": {"komi_spread": 2.0}},  # its matches have the komi of all others
}
OPTIONS["+ all"] = {name: value for options in OPTIONS.values() for name, value in options.items()}
TOY: dict[str, Any] = {
    "n_envs": 8,
    "train_freq": 128,
    "buffer_size": 512,
    "batch_size": 16,
    "gradient_steps": 2,
    "width": 4,
    "blocks": 1,
    "environment_options": {"max_moves": 8},
}
TOY_SIMULATIONS = {"simulations": 4, "fast_simulations": 2}
EXPLAINED = (
    "AlphaZero on {game} with each of its options alone, and with all, against AlphaZero without: {steps:,} steps, "
    "{seeds} seeds. Elo is that of a seed with the option less that of the same seed without, from {games} games with "
    "{simulations} simulations a move, each random opening played twice; the interval is Student's, of the mean over "
    "seeds. Shared settings: {shared}; all else as in the preset. {options}"
)


def settings(label: str, toy: bool) -> dict[str, Any]:
    """What ``tegu.train`` is given for one of ``OPTIONS``."""
    found = SHARED | OPTIONS[label]
    if not toy:
        return found
    found |= TOY | {"environment_options": found.get("environment_options", {}) | TOY["environment_options"]}
    return found | {name: value for name, value in TOY_SIMULATIONS.items() if name in found or name == "simulations"}


def trained(label: str, given: argparse.Namespace) -> Agent:
    """The agent of one of ``OPTIONS``: trained, or as far as that was done, found in ``given.runs``."""
    folder = given.runs / label.removeprefix("+ ").replace(" ", "-")
    asked = {"steps": given.steps, "seeds": given.seeds, **settings(label, given.toy)}
    plan = make_plan(GAME, "alphazero", **asked).config
    for run in Run.list(folder):
        if checkpoint.steps(run.checkpoints) and all(run.config.get(name) == value for name, value in plan.items()):
            done = run.status.state == "finished"
            return tegu.load(run) if done else tegu.resume(run, folder=folder)
    return tegu.train(GAME, "alphazero", folder=folder, progress_bar=False, **asked)


def difference(option: Agent, base: Agent, given: argparse.Namespace) -> dict[str, Any]:
    """By how much each seed of ``option`` is stronger than that of ``base``, in Elo, and their matches."""
    game, elo, matches = base.source.native, [], []
    for index in range(given.seeds):
        players = [
            AgentPlayer(agent, game, name, index=index, simulations=given.simulations)
            for name, agent in (("option", option), (BASE, base))
        ]
        match = play_match(game, *players, given.games, jax.random.key(index), given.openings)
        rated = ratings(points({(0, 1): match}, 2)).elo
        elo.append(float(rated[0] - rated[1]))
        matches.append(match.to_json())
    return {**summary(elo), "matches": matches}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.go_options", description="What each option of AlphaZero brings in Go."
    )
    parser.add_argument("--steps", type=int, default=1_000_000, help="moves of self-play (default: 1,000,000)")
    parser.add_argument("--seeds", type=int, default=5, help="(default: 5)")
    parser.add_argument("--games", type=int, default=100, help="of each seed, an even number (default: 100)")
    parser.add_argument("--simulations", type=int, default=64, help="of each move in these (default: 64)")
    parser.add_argument("--openings", type=int, default=4, metavar="PLIES", help="random moves at the start (4)")
    parser.add_argument("--only", nargs="+", metavar="OPTION", choices=[name for name in OPTIONS if name != BASE])
    parser.add_argument("--runs", type=Path, default=Path("build/go-options"), help="folder for the runs")
    parser.add_argument("--output", type=Path, help=f"folder for the figures (default: {RESULTS})")
    parser.add_argument("--toy", action="store_true", help=f"tiny, to see that all works, into {QUICK_RESULTS}")
    given = parser.parse_args()
    if given.toy:
        given.steps, given.seeds, given.games, given.simulations, given.openings = 256, min(given.seeds, 2), 4, 4, 2
    given.output = ROOT / (given.output or (QUICK_RESULTS if given.toy else RESULTS))
    given.runs = ROOT / given.runs
    return given


def main() -> None:
    """Measure what is not yet in the output, and write it after each option."""
    given = arguments()
    given.output.mkdir(parents=True, exist_ok=True)
    file, about = given.output / report.GO_OPTIONS, machine.surroundings("benchmarks.go_options")
    asked = {name: getattr(given, name) for name in ("steps", "seeds", "games", "simulations", "openings", "toy")}
    title = f"{GAME}: Elo against {BASE} without options"
    told = " ".join(f"{label.removeprefix('+ ').capitalize()}: {options}." for label, options in OPTIONS.items())
    table: dict[str, Any] = {}
    record = {"case": "options of AlphaZero", **about, "asked": asked, "tables": {title: table}}
    record["explained"] = EXPLAINED.format(game=GAME, shared=settings(BASE, given.toy), options=told, **asked)
    if file.exists() and (kept := json.loads(file.read_text()))["asked"] == asked:
        same = {label: one for label, one in kept["tables"][title].items() if label in OPTIONS}
        table |= {label: one for label, one in same.items() if one["settings"] == settings(label, given.toy)}
    for label in [label for label in given.only or OPTIONS if label != BASE and label not in table]:
        base, option = trained(BASE, given), trained(label, given)
        table[label] = {"settings": settings(label, given.toy), **difference(option, base, given)}
        record["date"] = datetime.now(UTC).isoformat(timespec="seconds")
        file.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n")
        report.write(given.output)
        print(f"{label}: {report.number(table[label]['mean'])} {table[label]['interval']}", flush=True)


if __name__ == "__main__":
    main()
