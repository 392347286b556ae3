"""How often each seed of a run loses a small board game, as either side, against every reply there is."""

import jax
from meter import report, settings

import tegu
from tegu.arena.players import AgentPlayer
from tegu.arena.solve import exhaustive


def main() -> None:
    given = settings()
    agent, simulations = tegu.load(given["run"]), given["simulations"]
    game = agent.spec.model
    games, losses = [], []
    for index in range(len(agent.seeds)):
        player = AgentPlayer(agent, game, "it", index=index, simulations=simulations)
        played = [exhaustive(game, player, side, jax.random.key(0)) for side in ("first", "second")]
        games.append([tally.games for tally in played])
        losses.append([tally.losses for tally in played])
    report({"simulations": simulations, "games": games, "losses": losses})


main()
