"""Does a small network do as well? Six seeds of each, a table, and how sure one can be."""

from rich import print

import tegu
from tegu.analysis import curves, probability_of_improvement, summary, table

runs = [
    tegu.train("CartPole-v1", "ppo", steps=30_000, seeds=6, net_arch=widths).run  # all seeds side by side
    for widths in [(4,), (64, 64)]
]
rows = summary(curves(runs), last=0.2)  # one number per seed: its mean return over the last fifth of training
print(table(rows))

small, large = rows
chance = float(probability_of_improvement(large.finals, small.finals))
print(f"a seed of the large network beats one of the small with probability {chance:.2f}")
