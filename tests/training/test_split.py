"""Groups of environments dealt out to the cores: faster, and the same to the bit as in the fused loop."""

from typing import Any

import equinox as eqx
import jax
import numpy as np
import pytest

import tegu
from tegu.acting.jax_collector import PLANNING_GROUP, JaxCollector
from tegu.acting.multicore_collector import MulticoreCollector
from tegu.algorithms.alphazero import AlphaZero
from tegu.core.runtime import cores
from tegu.core.schedule import Clock
from tegu.environments.games.tic_tac_toe import TicTacToe
from tegu.training.compiled import Programs
from tegu.training.fused import FusedLoop
from tegu.training.loop import Loop
from tegu.training.plan import spec_of
from tegu.training.split import SplitLoop

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
SEED, TOTAL = 3, 10_000


def fused(algorithm: AlphaZero, n_envs: int) -> FusedLoop:
    game = TicTacToe()
    return FusedLoop(algorithm, game, spec_of(game.id, game, n_envs), [SEED])


def split(algorithm: AlphaZero, n_envs: int) -> SplitLoop:
    game = TicTacToe()
    programs = Programs(algorithm, spec_of(game.id, game, n_envs))
    return SplitLoop(programs, {SEED: MulticoreCollector(algorithm, programs.shapes, game, n_envs)})


def one_seed(loop: Loop, state: Any) -> dict[str, Any]:
    """Learner, replay buffer, games and random key of the loop's only seed, however the loop keeps them."""
    (mine,) = state
    if isinstance(loop, SplitLoop):
        collector, key, buffer = loop.each[0].collector.state, mine.key, mine.buffer
    else:
        collector, key, buffer = jax.tree.map(lambda leaf: leaf[0], (mine.collector, mine.key, mine.buffer))
    learner = jax.tree.map(lambda leaf: leaf[0], loop.learners(state))
    found = {"learner": learner, "buffer": buffer, "collector": collector, "key": jax.random.key_data(key)}
    return jax.tree.map(np.asarray, found)


@pytest.mark.long
def test_it_makes_no_difference_who_plays() -> None:
    """The whole state and the figures of several chunks; the ring of rows goes around. Three groups."""
    algorithm, n_envs = AlphaZero(**SMALL, learning_rate=tegu.Linear(1e-2)), 96
    found = []
    for loop in (fused(algorithm, n_envs), split(algorithm, n_envs)):
        assert loop.steps_per_iteration == 384
        state, steps, tallies = loop.start(), 0, []
        loop.compile(state, 0)
        for iterations in (2, 1, 3):
            state, tally = loop.chunk(state, iterations, steps, TOTAL)
            steps += int(tally.iterations[0]) * loop.steps_per_iteration
            tallies.append(tally)
        found.append((steps, tallies, one_seed(loop, state)))
        loop.close()
    (steps, tallies, ours), (other_steps, other_tallies, theirs) = found
    assert steps == other_steps > SMALL["buffer_size"]
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)
    jax.tree.map(np.testing.assert_array_equal, tallies, other_tallies)
    assert sum(tally.ended[0] for tally in tallies) > 0
    assert sum(tally.updates[0] for tally in tallies) >= 4


@pytest.mark.slow
def test_it_collects_what_one_core_would() -> None:
    """The collectors themselves, with the same key and learner: steps, episodes and where the games then stand."""
    algorithm, game, clock, n_envs = AlphaZero(**SMALL), TicTacToe(), Clock.of(100, TOTAL), 64
    learner = algorithm.init(jax.random.key(1), spec_of(game.id, game, n_envs))
    dealt, one = MulticoreCollector(algorithm, learner, game, n_envs), JaxCollector(algorithm, game, n_envs)
    dealt.start(learner, jax.random.key(2))
    state = eqx.filter_jit(one.start)(algorithm, learner, jax.random.key(2))
    collect = eqx.filter_jit(lambda state, key: one.collect(algorithm.at(clock), learner, state, key, 5))
    for key in jax.random.split(jax.random.key(4), 3):
        ours = dealt.collect(learner, clock, key, 5)
        state, *theirs = collect(state, key)
        jax.tree.map(np.testing.assert_array_equal, (*ours, dealt.state), (*theirs, state))
        shapes = dealt.shapes(learner, 5)
        assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), shapes) == jax.tree.map(
            lambda leaf: (leaf.shape, leaf.dtype), ours[0]
        )
    assert ours[1].ended > 0


@pytest.mark.parametrize(
    ("algorithm", "n_envs", "groups"),
    [(AlphaZero(), 256, 8), (AlphaZero(), 32, 1), (AlphaZero(), 100, 1), (tegu.PPO(), 64, 1)],
)
def test_how_many_groups_there_are(algorithm: tegu.Algorithm, n_envs: int, groups: int) -> None:
    """As many as hold ``PLANNING_GROUP`` environments each where the algorithm plans; one, where that is not even."""
    one = JaxCollector(algorithm, TicTacToe(), n_envs)
    assert one.n_groups == groups
    assert groups in (1, n_envs / PLANNING_GROUP)
    assert MulticoreCollector.pays(one) == (groups > 1 and cores() > 1)
