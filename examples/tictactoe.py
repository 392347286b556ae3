"""AlphaZero learns tic-tac-toe from self-play and then meets perfect play, which cannot be beaten."""

import jax

import tegu
from tegu.arena.match import play_match
from tegu.arena.players import AgentPlayer, MinimaxPlayer, RandomPlayer


def main():
    game = tegu.make("tic-tac-toe")
    agent = tegu.train("tic-tac-toe", steps=80_000)  # the preset's settings, AlphaZero among them

    player = AgentPlayer(agent, game, "trained")
    for opponent in (RandomPlayer(), MinimaxPlayer(game)):
        match = play_match(game, player, opponent, games=100, key=jax.random.key(0), opening_plies=1)
        wins, draws, losses = match.total
        print(f"against {opponent.name}: {wins} won, {draws} drawn, {losses} lost")


if __name__ == "__main__":
    main()
