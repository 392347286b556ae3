"""Groups of environments dealt out to the cores: faster, and the same to the bit."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from run_contents import assert_same, everything, stopped_and_resumed

import tegu
from tegu.algorithms.alphazero import AlphaZero
from tegu.environments.games.tic_tac_toe import TicTacToe
from tegu.training.dealt import DealtLoop, dealt_to
from tegu.training.fused import Fused, FusedLoop
from tegu.training.train import make_loop, make_plan, spec_of

SMALL: dict[str, Any] = {
    "simulations": 2,
    "random_moves": 2,
    "train_freq": 96 * 4,
    "buffer_size": 96 * 12,
    "batch_size": 32,
    "gradient_steps": 2,
    "width": 8,
    "blocks": 1,
}

two_devices = pytest.mark.skipif(jax.local_device_count() < 2, reason="needs two devices, one per core")


def loop(kind: type[FusedLoop], n_envs: int) -> FusedLoop:
    game = TicTacToe()
    return kind(AlphaZero(**SMALL), game, spec_of(game.id, game, n_envs), [3])


@two_devices
@pytest.mark.parametrize("n_envs", [64, 96], ids=["as many groups as devices", "three groups for one device"])
def test_it_makes_no_difference_who_plays(n_envs: int) -> None:
    """The whole state and the figures of a chunk, after two of them: learner, replay buffer, games, keys."""
    found = []
    for kind in (FusedLoop, DealtLoop):
        one = loop(kind, n_envs)
        state, _ = one.chunk(one.start(), 2, 10_000)
        one.compile(state)
        state, tally = one.chunk(state, 3, 10_000)
        found.append((one.dump(state), tally))
    jax.tree.map(np.testing.assert_array_equal, *found)
    assert found[0][1].episodes.ended > 0


def test_a_single_seed_is_dealt_and_equals_the_same_among_others() -> None:
    learned = []
    for seeds in (1, 3):
        one = make_loop(make_plan("tic-tac-toe", AlphaZero(**SMALL), steps=2_000, n_envs=64, seeds=seeds))
        assert isinstance(one, DealtLoop) == (seeds == 1 and jax.local_device_count() > 1)
        state, _ = one.chunk(one.start(), 4, 2_000)
        learned.append(jax.tree.map(lambda leaf: np.asarray(leaf)[0], one.learners(state)))
    jax.tree.map(np.testing.assert_array_equal, *learned)


def test_a_stopped_run_goes_on_as_if_it_had_never_stopped(tmp_path: Path) -> None:
    settings: dict[str, Any] = {**SMALL, "steps": 4_000, "n_envs": 64, "log_interval": 768}
    whole = tegu.train("tic-tac-toe", "alphazero", folder=tmp_path / "whole", **settings)
    assert whole.run is not None
    resumed = stopped_and_resumed("tic-tac-toe", "alphazero", folder=tmp_path / "stopped", **settings)
    assert_same(everything(resumed), everything(whole.run))


@pytest.mark.parametrize(
    ("algorithm", "n_envs", "groups"),
    [(AlphaZero(), 256, 8), (AlphaZero(), 32, 1), (AlphaZero(), 100, 1), (tegu.PPO(), 64, 1)],
)
def test_how_many_groups_there_are(algorithm: tegu.Algorithm, n_envs: int, groups: int) -> None:
    """As many as hold ``Algorithm.group`` environments each; one, where that does not come out even."""
    one = Fused(algorithm, TicTacToe(), n_envs)
    assert one.n_groups == groups
    assert groups % dealt_to(one) == 0
    assert dealt_to(one) <= jax.local_device_count()
