"""What a person writes in Python is accepted, or answered in one line before anything is compiled."""

import numpy as np
import pytest

import tegu
from tegu.acting.evaluation import Evaluation
from tegu.algorithms.own import prepared
from tegu.algorithms.registry import chosen
from tegu.core.errors import TeguError
from tegu.training.plan import make_plan
from tegu.training.train import several


def half(progress):
    return progress / 2


@pytest.mark.parametrize(
    ("algorithm", "options", "message"),
    [
        ("ppo", {"callbacks": [1]}, "callbacks must be functions of a Progress, got int"),
        ("ppo", {"observers": half}, "observers must be callable and have every, got function"),
        ("ppo", {"then": [("CartPole-v1", "ppo", 64)]}, r"then must be tegu\.Phase\(.*, got tuple"),
        ("ppo", {"environment_options": [1]}, "environment_options must be a dict, got list"),
        ("ppo", {"checkpoint_every": "x"}, "checkpoint_every must be at least 0 seconds, got 'x'"),
        ("ppo", {"learning_rate": half}, r"learning_rate must be a number or tegu\.Linear\(.*, got a function"),
        ("ppo", {"net_arch": 64}, "net_arch must be a list of whole numbers, got 64"),
        (tegu.PPO(net_arch=64), {}, "PPO: net_arch must be a list of whole numbers, got 64"),
        (tegu.PPO(learning_rate=half), {}, r"PPO: learning_rate must be a number or tegu\.Linear\("),
        (5, {}, r"the algorithm must be a class derived from tegu\.Algorithm, it is int"),
    ],
)
def test_what_does_not_fit_is_one_line(algorithm, options, message):
    with pytest.raises(TeguError, match=message) as error:
        tegu.train("CartPole-v1", algorithm, folder=None, **options)
    assert "\n" not in str(error.value)


def test_one_stands_for_several():
    phase = tegu.Phase("CartPole-v1", "ppo", 64)
    assert several(half, then=phase) == ([half], [], [phase])
    assert several((half, half), (), [phase]) == ([half, half], [], [phase])


def test_variants_are_named_as_classes_are():
    assert tegu.MAPPO is tegu.MAPPO
    assert (chosen(tegu.MAPPO), chosen(tegu.MATD3), chosen(tegu.PPO)) == ("mappo", "matd3", tegu.PPO)
    assert tegu.MAPPO(gamma=0.5).centralised


def test_numbers_are_read_as_the_fields_hold_them():
    read = prepared(tegu.PPO(learning_rate="1e-3", net_arch=[8, 8], n_steps=16.0))
    assert (read.learning_rate, read.net_arch, read.n_steps) == (1e-3, (8, 8), 16)
    assert make_plan("CartPole-v1", "ppo", steps="1e5").steps == 100_000
    as_given = tegu.PPO(learning_rate=tegu.Linear(1e-3))
    assert prepared(as_given) is as_given


def test_an_evaluation_is_shown_in_short():
    returns = np.array([[9.0, 11.0], [10.0, 10.0]])
    shown = repr(Evaluation(returns, np.full((2, 2), 10)))
    assert shown == "<return 10, std 0.7071, mean length 10; 2 episodes of each of 2 seeds>"
