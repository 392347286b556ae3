"""Hyper-parameters that make no sense are refused in one line when the algorithm is made."""

from typing import Any

import jax
import jax.numpy as jnp
import pytest

import tegu
from tegu.algorithms.catalogue import ALGORITHMS
from tegu.algorithms.hyper_parameters import settings_of
from tegu.algorithms.ranges import Fraction, ranges_of
from tegu.algorithms.registry import class_of
from tegu.core.schedule import Clock

UNBOUNDED = {"initial_value", "log_std_init", "v_min", "v_max", "alive_bonus_offset"}  # any number will do
UNBOUNDED |= {"gradient_steps"}  # may be -1, too


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: tegu.PPO(gamma=2.0), "PPO: gamma must be from 0 to 1, got 2.0"),
        (lambda: tegu.PPO(gamma=-1), "PPO: gamma must be from 0 to 1, got -1"),
        (lambda: tegu.PPO(learning_rate=-1.0), "PPO: learning_rate must be at least 0, got -1.0"),
        (
            lambda: tegu.PPO(clip_range=tegu.Linear(0.0)),
            "PPO: clip_range must be above 0, got one that goes from 0.0 to 0.0 (fraction 1.0)",
        ),
        (lambda: tegu.PPO(clip_range=-0.1), "PPO: clip_range must be above 0, got -0.1"),
        (lambda: tegu.PPO(max_grad_norm=-1.0), "PPO: max_grad_norm must be above 0, got -1.0"),
        (lambda: tegu.PPO(gae_lambda=5.0), "PPO: gae_lambda must be from 0 to 1, got 5.0"),
        (lambda: tegu.PPO(n_epochs=0), "PPO: n_epochs must be at least 1, got 0"),
        (lambda: tegu.DQN(tau=0.0), "DQN: tau must be above 0 and at most 1, got 0.0"),
        (lambda: tegu.DQN(exploration_final_eps=1.5), "DQN: exploration_final_eps must be from 0 to 1, got 1.5"),
        (lambda: tegu.AlphaZero(simulations=1), "AlphaZero: simulations must be from 2 to 100,000, got 1"),
        (lambda: tegu.MAPPO(gamma=7.0), "PPO: gamma must be from 0 to 1, got 7.0"),
    ],
)  # fmt: skip
def test_what_is_out_of_range_is_refused(make: Any, message: str) -> None:
    with pytest.raises(tegu.TeguError) as error:
        make()
    assert str(error.value) == message


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_number_has_a_range(name: str) -> None:
    """Or is named above; the command line's help says it."""
    for setting in settings_of(class_of(name)).values():
        if setting.kinds[0] in (int, float):
            assert (setting.range is None) == (setting.name in UNBOUNDED), setting.name
            if setting.range is not None and setting.default is not None:
                assert setting.default in setting.range


def test_ends_of_ranges_and_schedules_that_fall_to_0() -> None:
    tegu.PPO(gamma=1.0, gae_lambda=0.0, learning_rate=0.0, clip_range=tegu.Linear(0.2), target_kl=None)
    tegu.DQN(gamma=0, tau=1, exploration_fraction=0.0)


def test_epsilon_is_the_last_one_where_it_falls_over_no_time() -> None:
    """Not 0 / 0."""
    assert float(tegu.Linear(1.0, 0.25, 0.0)(jnp.float32(0))) == 0.25
    algorithm = tegu.DQN(exploration_fraction=0.0, exploration_final_eps=0.25)
    assert float(algorithm.at(Clock.of(200, 1000)).exploration_rate) == 0.25


def test_arrays_are_not_looked_at() -> None:
    """Within compiled programs numbers are not known yet."""
    assert tegu.PPO(gamma=jnp.float32(0.5)).gamma == 0.5


def test_an_own_algorithm_declares_ranges_the_same_way() -> None:
    class Own(tegu.PPO):
        share: Fraction = 0.5

    assert str(ranges_of(Own)["share"]) == "from 0 to 1"
    with pytest.raises(tegu.TeguError, match=r"Own: share must be from 0 to 1, got 2\.0"):
        Own(share=2.0)


def test_schedules_in_a_compiled_program_are_not_looked_at() -> None:
    """Algorithms that are made of others make these there."""
    rate = jax.jit(lambda rate: tegu.MBPO(learning_rate=rate).sac.learning_rate)(tegu.Linear(0.5))
    assert float(rate.initial) == 0.5
