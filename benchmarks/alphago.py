"""``python -m benchmarks.alphago``: AlphaGo and its parts against each other and GNU Go, in Elo.

Trains a run, or goes on with one (``--run``), and plays a round robin between the full search, every combination of
rollouts (r), value network (v) and policy network (p), as in the paper's extended data table 7, and GNU Go.
"""

import argparse
import json
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import tegu
from benchmarks import machine
from benchmarks.__main__ import QUICK_RESULTS, RESULTS
from benchmarks.execution import ROOT

TOY = {"steps": 3_000, "n_envs": 8, "n_expert_games": 4, "expert_level": 0, "width": 8, "blocks": 1}
TOY_SIMULATIONS, TOY_GAMES = 4, 2


def trained(given: argparse.Namespace) -> tegu.Agent:
    """The run that is named, resumed to its end if it has not reached it, or a new one."""
    if given.run:
        agent = tegu.load(given.run, folder=given.runs)
        return tegu.resume(given.run, folder=given.runs) if agent.run.status.state != "finished" else agent
    options: dict[str, Any] = TOY if given.toy else {}
    if given.steps:
        options = options | {"steps": given.steps}
    return tegu.train(f"go-{given.size}x{given.size}", "alphago", seed=given.seed, folder=given.runs, **options)


def standings(agent: tegu.Agent, given: argparse.Namespace) -> dict[str, Any]:
    """Ratings of all players, and the matches of each with the full search."""
    import jax

    from tegu.algorithms.alphago import PARTS
    from tegu.arena.elo import ratings
    from tegu.arena.gtp.player import GTPPlayer
    from tegu.arena.match import points, round_robin
    from tegu.arena.players import AgentPlayer, RandomPlayer
    from tegu.gtp.expert import gnu_go

    assert agent.source is not None
    game: Any = agent.source.native
    simulations = TOY_SIMULATIONS if given.toy else given.simulations
    searching = {"simulations": simulations}
    players: list[Any] = [
        AgentPlayer(agent, game, f"alphago {parts}", settings={"parts": parts}, **searching) for parts in PARTS
    ]
    with ExitStack() as stack:
        for level in given.gnugo if gnu_go() else []:
            command = f"{gnu_go()} --mode gtp --level {level} --chinese-rules --capture-all-dead"
            players.append(stack.enter_context(GTPPlayer(game, command)))
            players[-1].name = f"GNU Go level {level}"
        players.append(RandomPlayer())
        matches = round_robin(game, players, TOY_GAMES if given.toy else given.games, jax.random.key(given.seed))
    elo, half_width = ratings(points(matches, len(players)))
    return {
        "simulations": simulations,
        "ratings": [
            {"player": player.name, "elo": float(rating), "interval": [float(rating - half), float(rating + half)]}
            for player, rating, half in zip(players, elo, half_width, strict=True)
        ],
        "matches": [match.to_json() for match in matches.values()],
    }


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.alphago", description="AlphaGo beside its parts.")
    parser.add_argument("--size", type=int, default=7, choices=(5, 7, 9), help="of the board (default: 7)")
    parser.add_argument("--steps", type=int, help="of training, all stages together (the preset's)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the run (default: runs)")
    parser.add_argument("--run", help="a run to play with, which is resumed to its end first; none: train one")
    parser.add_argument("--simulations", type=int, default=64, help="of each search (default: 64)")
    parser.add_argument("--games", type=int, default=100, help="of each pair of players (default: 100)")
    parser.add_argument("--gnugo", type=int, nargs="*", default=[1, 10], metavar="LEVEL", help="levels (default: 1 10)")
    parser.add_argument("--toy", action="store_true", help=f"the smallest size, into {QUICK_RESULTS}")
    parser.add_argument("--output", type=Path, help=f"folder for the figures (default: {RESULTS})")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    began = time.perf_counter()
    agent = trained(given)
    assert agent.run is not None
    seconds = time.perf_counter() - began
    found = standings(agent, given)
    record = {
        "case": "AlphaGo beside its parts",
        **machine.surroundings("benchmarks.alphago"),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "run": agent.run.config,
        "steps": agent.steps,
        "seconds of training, in this call": seconds,
        **found,
    }
    folder = ROOT / (given.output or (QUICK_RESULTS if given.toy else RESULTS))
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"alphago-{agent.spec.id}.json"
    file.write_text(json.dumps(record, indent=1, default=str) + "\n", encoding="utf-8")
    for entry in sorted(found["ratings"], key=lambda entry: -entry["elo"]):
        low, high = entry["interval"]
        print(f"{entry['player']:>20} {entry['elo']:+6.0f}  {low:+.0f} to {high:+.0f}")
    print(f"written to {file}")


if __name__ == "__main__":
    main()
