"""``python -m benchmarks.scores``: how well the presets learn, over several seeds. Takes long."""

import argparse
import json
import math
import tempfile
import tomllib
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any, Literal, NamedTuple
from urllib.parse import quote

from benchmarks import machine, report
from benchmarks.__main__ import RESULTS
from benchmarks.cases import OURS
from benchmarks.execution import ROOT, BenchmarkError, environment, run
from tegu.analysis import mean_interval
from tegu.runs import Run


class Learning(NamedTuple):
    """What is learned, and how it is judged besides its score."""

    environment: str
    algorithm: str
    steps: int | None = None  #: None: as the preset says
    seeds: int = 10
    episodes: int = 100  #: that each seed's score is the mean of
    judge: Literal["", "optimal", "perfect", "matches", "crossplay"] = ""
    rivals: tuple[str, ...] = ()  #: crossplay: the algorithm of the other team; matches: players as of tegu arena
    openings: tuple[int, ...] = ()  #: matches: random moves that games begin with, for each match with a rival
    known: bool = False  #: matches: whether also by positions in which the value of every move is known

    @property
    def name(self) -> str:
        return f"{self.environment}/{self.algorithm}"


# As it plays by default, it would count territory and leave dead stones on the board, which here count as alive.
GNU_GO = tuple(f"gtp:gnugo --mode gtp --level {level} --chinese-rules --capture-all-dead" for level in (1, 10))
CASES = (
    Learning("CartPole-v1", "ppo", 100_000),
    Learning("CartPole-v1", "dqn", 50_000),
    Learning("Pendulum-v1", "ppo"),
    Learning("Acrobot-v1", "ppo"),
    Learning("lizard", "q-learning", judge="optimal"),
    Learning("FrozenLake-v1", "q-learning", judge="optimal"),
    Learning("CliffWalking-v1", "q-learning", judge="optimal"),
    Learning("Taxi-v4", "q-learning", judge="optimal"),
    Learning("TMaze-v0", "r2d2"),
    Learning("BitFlip-v0", "dqn"),
    Learning("FetchReach-v4", "sac", seeds=5),  # needs tegu[robotics] in .venv
    Learning("FetchReach-v4", "ddpg", seeds=5),  # needs tegu[robotics] in .venv
    Learning("HalfCheetah-v5", "ppo", seeds=5),
    Learning("HalfCheetah-v5", "sac", 300_000, seeds=3),
    Learning("Hopper-v5", "ppo", seeds=5),
    Learning("MinAtar/Breakout-v0", "pqn", 1_000_000),
    Learning("MinAtar/Freeway-v0", "pqn", 1_000_000),
    Learning("MinAtar/Breakout-v0", "dqn"),
    *(Learning(f"MinAtar/{game}-v0", "dqn", seeds=5) for game in ("Freeway", "Asterix", "Seaquest", "SpaceInvaders")),
    *(Learning("MinAtar/Breakout-v0", name, seeds=5) for name in ("c51", "qr-dqn", "rainbow")),
    Learning("CartPoleSwingUp-v0", "sac", seeds=3),
    Learning("CartPole-v1", "dreamer", seeds=3),
    Learning("Pendulum-v1", "dreamer", seeds=3),
    Learning("Pendulum-v1", "td-mpc2", seeds=5),
    Learning("CartPole-v1", "muzero", seeds=5),
    Learning("tic-tac-toe", "alphazero", seeds=5, judge="perfect"),
    Learning("tic-tac-toe", "muzero", seeds=5, judge="perfect"),
    Learning("connect-four", "alphazero", seeds=1, judge="matches", rivals=("mcts:1000",), openings=(0, 4), known=True),
    Learning("go-5x5", "alphazero", seeds=1, judge="matches", rivals=GNU_GO, openings=(2,)),  # needs GNU Go
    Learning("go-7x7", "alphazero", seeds=1, judge="matches", rivals=GNU_GO, openings=(2,)),
    Learning("simple_spread_v3", "maddpg", seeds=5, episodes=1000),
    Learning("simple_speaker_listener_v4", "maddpg", seeds=5, episodes=1000),
    Learning("simple_speaker_listener_v4", "iddpg", seeds=5, episodes=1000),
    Learning("simple_tag_v3", "maddpg", seeds=5, episodes=1000),
    Learning("simple_tag_v3", "iddpg", seeds=5, episodes=1000, judge="crossplay", rivals=("maddpg",)),
)
SIMULATIONS = {"tic-tac-toe": 32, "connect-four": 64, "go-5x5": 64, "go-7x7": 64}  #: per move, when judged
GAMES = 100  #: of a match


def tegu(folder: Path, *words: str | Path) -> dict[str, Any]:
    """What ``tegu ... --json`` says, and how long it took."""
    command = [str(ROOT / OURS / "bin/tegu"), *map(str, words), "--json", "--quiet"]
    return run(command, folder, environment(None, folder / "cache"))


def worker(name: str, folder: Path, **settings: Any) -> dict[str, Any]:
    """What a worker in our virtual environment says."""
    command = [str(ROOT / OURS / "bin/python"), str(ROOT / "benchmarks/workers" / name), json.dumps(settings)]
    return run(command, folder, environment(None, folder / "cache"))["result"]


def learn(case: Learning, folder: Path) -> dict[str, Any]:
    """Train, or find it done in ``folder``, and take down each seed's score."""
    try:
        path, seconds = done(case, folder) or trained(case, folder)
        found = tegu(folder, "evaluate", path, "--episodes", str(case.episodes))["result"]
        scores = [float(score) for score in found["deterministic"]["per_seed"]]
        return {
            "environment": case.environment,
            "algorithm": case.algorithm,
            "seconds": seconds,
            "steps": int(found["steps"]),
            "episodes": case.episodes,
            **summary(scores),
            **while_training(path),
            **{name: found["deterministic"][name] for name in ("agents", "measures") if found["deterministic"][name]},
            **judged(case, path, folder),
        }
    except (KeyError, TypeError, ValueError) as error:
        raise BenchmarkError(f"the output of tegu lacks or misnames {error}") from error


def while_training(path: Path) -> dict[str, Any]:
    """What each seed's last episodes of training returned, on average, exploration included, as papers often report."""
    with Run(path).metrics(read_only=True) as store:
        last = [store.read("rollout/ep_rew_mean", seed)[1][-1:] for seed in store.seeds()]
    known = all(len(each) and math.isfinite(each[0]) for each in last)
    return {"while_training": summary([float(each[0]) for each in last])} if known and last else {}


def trained(case: Learning, folder: Path) -> tuple[Path, float]:
    """Train in ``folder``: where the run is, and how long the whole process took."""
    asked = ["--steps", str(case.steps)] if case.steps is not None else []
    words = ["train", case.environment, case.algorithm, "--seeds", str(case.seeds), *asked, "--runs", folder]
    found = tegu(folder, *words)
    return Path(found["result"]["run"]), found["process_seconds"]


def done(case: Learning, folder: Path) -> tuple[Path, float] | None:
    """A finished run of the case in ``folder``, trained as the preset says now, and how long its training took."""
    paths = sorted(folder.glob(f"{quote(case.environment, safe='')}/{case.algorithm}/*"))
    asked = {name: getattr(case, name) for name in ("environment", "algorithm", "seeds", "steps")}
    wanted = worker("preset.py", folder, **asked) if paths else {}
    for path in paths:
        config = tomllib.loads((path / "config.toml").read_text())
        finished = json.loads((path / "status.json").read_text())["state"] == "finished"
        if finished and all(config.get(name) == value for name, value in wanted.items()):
            last = max(path.glob("checkpoints/[0-9]*/manifest.json"))
            return path, json.loads(last.read_text())["state"]["elapsed"]
    return None


def judged(case: Learning, path: Path, folder: Path) -> dict[str, Any]:
    """What else shows how good the run in ``path`` is."""
    match case.judge:
        case "optimal":
            return worker("tabular.py", folder, run=str(path), environment=case.environment)
        case "perfect":
            return {"perfect": worker("perfect.py", folder, run=str(path), simulations=SIMULATIONS[case.environment])}
        case "matches":
            simulations = SIMULATIONS[case.environment]
            matches = []
            for rival, openings in product(case.rivals, case.openings):
                words = ["arena", f"{path}@{simulations}", rival, "--games", str(GAMES), "--openings", str(openings)]
                match = tegu(folder, *words)["result"]["matches"][0]
                match["players"] = [f"{case.algorithm}@{simulations}", rival]
                matches.append(match | {"openings": openings})
            found: dict[str, Any] = {"matches": matches}
            if case.known:
                found["mistakes"] = worker("mistakes.py", folder, run=str(path), simulations=simulations)
            return found
        case "crossplay":
            rival = case._replace(algorithm=case.rivals[0])
            other, _ = done(rival, folder) or trained(rival, folder)
            found = tegu(folder, "crossplay", other, path, "--episodes", str(case.episodes))["result"]
            algorithms = case.rivals[0], case.algorithm
            for cell in found["cells"]:
                cell["by"] = dict(zip(found["teams"], (algorithms[i] for i in cell["indices"]), strict=True))
            return {"crossplay": {name: found[name] for name in ("teams", "episodes", "cells")}}
    return {}


def summary(scores: Sequence[float]) -> dict[str, Any]:
    """Mean, standard deviation over seeds, and the interval of the mean: None of a single seed, as JSON has no NaN."""
    low, high, _ = mean_interval(scores)
    interval = [float(low), float(high)] if len(scores) > 1 else None
    return {"per_seed": scores, "mean": fmean(scores), "std": pstdev(scores), "interval": interval}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scores", description="How well the presets learn.")
    parser.add_argument("--seeds", type=int, help="for every case, in place of its own number")
    parser.add_argument("--steps", type=int, help="for every case, in place of its own number")
    parser.add_argument("--only", nargs="+", metavar="ENV/ALGO", choices=[case.name for case in CASES])
    parser.add_argument(
        "--runs", type=Path, help="keep the runs in this folder; those that are finished there are not trained again"
    )
    parser.add_argument("--output", type=Path, default=RESULTS, help=f"folder for the figures (default: {RESULTS})")
    return parser.parse_args()


def main() -> int:
    """Train every case asked for. Returns the exit status: 1 if one of them failed."""
    given, failed, surroundings = arguments(), False, machine.surroundings("benchmarks.scores")
    results = ROOT / given.output
    results.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="tegu-scores-") as temporary:
        runs = (given.runs or Path(temporary)).resolve()
        runs.mkdir(parents=True, exist_ok=True)
        for case in CASES:
            if given.only and case.name not in given.only:
                continue
            print(case.name, flush=True)
            try:
                found = learn(case._replace(seeds=given.seeds or case.seeds, steps=given.steps or case.steps), runs)
            except BenchmarkError as error:
                print(f"  failed: {error}", flush=True)
                failed = True
                continue
            print(f"  {report.number(found['mean'])} in {found['seconds']:.0f} s", flush=True)
            keep(results, case, found, surroundings)
    return int(failed)


def keep(results: Path, case: Learning, found: dict[str, Any], surroundings: dict[str, Any]) -> None:
    """Write what a case came to beside what is there of the others."""
    file = results / report.SCORES
    kept = json.loads(file.read_text())["cases"] if file.exists() else []
    date = datetime.now(UTC).isoformat(timespec="seconds")
    cases = {f"{one['environment']}/{one['algorithm']}": one for one in kept}
    cases[case.name] = found | {"date": date, "commit": surroundings["commit"]}
    kept = [cases[each.name] for each in CASES if each.name in cases]
    record = {"case": "learning scores", "date": date, **surroundings, "cases": kept}
    file.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n")
    report.write(results)


if __name__ == "__main__":
    raise SystemExit(main())
