"""PPO with 4 or 20 epochs per rollout: five seeds of each, a table, and the probability of improvement."""

from rich.console import Console

import tegu
from tegu.analysis import curves, probability_of_improvement, summary, table


def main():
    runs = [
        tegu.train("CartPole-v1", "ppo", steps=20_000, seeds=5, n_epochs=n_epochs).run  # all seeds side by side
        for n_epochs in (4, 20)
    ]
    four, twenty = rows = summary(curves(runs), last=0.2)  # per seed: its mean return over the last fifth of training
    Console(width=110).print(table(rows))

    chance = float(probability_of_improvement(twenty.finals, four.finals))
    print(f"a seed with 20 epochs beats one with 4 with probability {chance:.2f}")


if __name__ == "__main__":
    main()
