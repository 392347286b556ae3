"""Board games are evaluated against random moves: who moves when, and whose gain is told."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from metronome import Only

from tegu.acting.evaluation import JaxEvaluator
from tegu.algorithms.base import Algorithm, named
from tegu.core.schedule import Clock, Linear, Schedule
from tegu.core.step import Decision
from tegu.environments.base import Timestep
from tegu.environments.games.base import Game, payoff
from tegu.experience.base import Rollout

EPISODES = 200
MASK = np.array([True, True, False])


class Duel(Game):
    """Each player says 0 or 1 (a 2 is illegal): the one who says more wins, and of two 1 it is the first."""

    id: str = eqx.field(static=True, kw_only=True, default="duel")
    max_episode_steps: int | None = eqx.field(static=True, kw_only=True, default=2)

    @property
    def observation_space(self) -> spaces.Dict:
        return spaces.Dict(
            board=spaces.Box(-1, 1, (1, 2), np.int8), to_play=spaces.Discrete(2), action_mask=spaces.MultiBinary(3)
        )

    @property
    def action_space(self) -> spaces.Discrete:
        return spaces.Discrete(3)

    def reset(self, key: jax.Array) -> tuple[Any, Any]:
        empty = jnp.zeros((1, 2), jnp.int8)
        position = {"board": empty, "to_play": jnp.int32(0), "action_mask": jnp.asarray(MASK)}
        return position, position

    def step(self, state: Any, action: jax.Array, key: jax.Array) -> Timestep:
        board, turn = state["board"].at[0, state["to_play"]].set(action.astype(jnp.int8)), state["to_play"]
        first, second = board[0, 0], board[0, 1]
        wins = jnp.where(first > second, 1, jnp.where(second > first, -1, jnp.where(first == 1, 1, 0)))
        illegal = action == 2
        over = (turn == 1) | illegal
        winner = jnp.where(illegal, jnp.where(turn == 0, -1, 1), jnp.where(over, wins, 0))
        position = {"board": board, "to_play": 1 - turn, "action_mask": jnp.asarray(MASK) & ~over}
        return Timestep(position, position, payoff(winner), over)


class Bold(Algorithm):
    """Says 1, or 0 where it explores or its rate is not 1 (at the beginning)."""

    multi_agent: ClassVar[bool] = True
    name: str = named("bold")
    experience = Rollout(1)
    rate: Schedule = Linear(0.0, 1.0)

    def init(self, key: jax.Array, spec: Any) -> Only:
        return Only.start()

    def act(self, learner: Any, observation: Any, memory: Any, key: jax.Array, *, explore: bool) -> Decision:
        says = jnp.full(len(observation["to_play"]), self.rate * (not explore))
        return Decision(says.astype(jnp.int32), memory)

    def update(self, learner: Any, batch: Any, key: jax.Array) -> Any:
        raise NotImplementedError


def evaluated(steps: int, *, deterministic: bool = True) -> Any:
    evaluator = JaxEvaluator(Bold(), Duel(), [3], EPISODES, deterministic)
    return evaluator(jax.tree.map(lambda leaf: leaf[None], Only.start()), Clock.of(steps, 100))


def test_each_seat_is_told_its_own_gain() -> None:
    """Who says 1 wins always as the first player; as the second when chance says 0, else it loses."""
    found = evaluated(100)
    assert found.returns.shape == (1, EPISODES)
    assert (found.agents["first"] == 1).all()
    assert set(np.unique(found.agents["second"])) == {-1, 1}
    assert abs(found.agents["second"].mean()) < 0.4  # four standard errors
    np.testing.assert_array_equal(found.returns[:, ::2], found.agents["first"])
    np.testing.assert_array_equal(found.returns[:, 1::2], found.agents["second"])
    assert (found.lengths == 2).all(), "chance does nothing illegal, by which a game would end at once or be won"


def test_schedules_are_as_they_are_at_the_clock_and_exploring_is_asked_for() -> None:
    """Who says 0 never wins."""
    for found in (evaluated(0), evaluated(100, deterministic=False)):
        assert set(np.unique(found.returns)) == {-1, 0}
