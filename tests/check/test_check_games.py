"""The checker on board games: silent on what is sound, clear on what is not."""

import sys
from contextlib import suppress
from inspect import cleandoc as text
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict

import tegu
from tegu.check import check
from tegu.check.findings import Findings, Halt
from tegu.check.games import check_game
from tegu.environments.base import Timestep
from tegu.environments.games.base import Game
from tegu.environments.games.connect_four import ConnectFour
from tegu.environments.games.tic_tac_toe import TicTacToe


def read(environment: Any, **options: Any) -> str:
    """The whole text of all findings."""
    report = check(environment, **{"steps": 20, **options})
    assert all(str(finding).count("\n") <= 3 for finding in report.findings)
    assert str(report)
    return "\n".join(map(str, report.findings))


def played(game: Game) -> str:
    """The same, only of what playing brings to light."""
    findings = Findings()
    with suppress(Halt):
        check_game(game, findings, plies=12, seed=0)
    return "\n".join(map(str, findings.all()))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tic-tac-toe", "connect-four"])
def test_our_games_have_no_findings(name: str) -> None:
    report = check(tegu.make(name), steps=50)
    assert report.findings == (), report
    assert report.facts["players"] == "first, second"
    assert report.facts["illegal_actions"] == "tried"
    assert report.facts["symmetries"] == {"tic-tac-toe": "8", "connect-four": "2"}[name]


def test_the_examples_game_has_no_findings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, str(Path(__file__).parents[2] / "examples")])
    assert read(tegu.make("own_board_game:Apart")) == ""


class Rules(TicTacToe):
    """Tic-tac-toe with one rule changed: ``change(before, action, now)`` is what a step then comes to."""

    change: Any = eqx.field(static=True, kw_only=True)

    def step(self, state, action, key):
        return self.change(state, action, super().step(state, action, key))


def moved(now: Timestep, **position: Any) -> Timestep:
    after = now.state | position
    return now._replace(state=after, observation=after)


def paid(now: Timestep, first: Any, second: Any) -> Timestep:
    return now._replace(reward={"first": first, "second": second})


def goes_on_after_illegal(before, action, now):
    legal = before["action_mask"][action]
    same = {name: jnp.where(legal, now.state[name], before[name]) for name in before}
    turn = {"to_play": now.state["to_play"]}
    return moved(now, **same | turn)._replace(terminated=now.terminated & legal)


BROKEN_RULES = {
    "the turn stays": (
        lambda before, action, now: moved(now, to_play=before["to_play"]),
        """
        error in step() -> state["to_play"]: the turn does not pass
          expected  1 - to_play after every action, the last one included
          got       0 again after 1 ply
        """,
    ),
    "the observation is another": (
        lambda before, action, now: now._replace(observation=now.state | {"board": -now.state["board"]}),
        """
        error in step() -> observation: is not the state
          expected  Timestep(position, position, ...)
          got       after 1 ply
        """,
    ),
    "both win": (
        lambda before, action, now: paid(now, now.reward["first"], jnp.abs(now.reward["second"])),
        """
        error in step() -> reward: one's gain is not the other's loss
          expected  1 for the winner and -1 for the loser, or 0 for both
        """,
    ),
    "moves are paid": (
        lambda before, action, now: paid(now, now.reward["first"] + 0.1, now.reward["second"] - 0.1),
        """
        error in step() -> reward: pays before the end
          expected  0 while the game goes on
          got       first 0.1, second -0.1 after 1 ply
        """,
    ),
    "double": (
        lambda before, action, now: paid(now, 2 * now.reward["first"], 2 * now.reward["second"]),
        """
        error in step() -> reward: is no result
          expected  1 for the winner and -1 for the loser, or 0 for both
        """,
    ),
    "moves after the end": (
        lambda before, action, now: moved(now, action_mask=now.state["board"].ravel() == 0),
        """
        error in step() -> state["action_mask"]: an action is legal after the end
          expected  only False once the game is over
        """,
    ),
    "illegal actions pass": (
        goes_on_after_illegal,
        """
        error in step(illegal action): the game goes on
          expected  terminated: an illegal action loses at once
          got       after 2 plies
        """,
    ),
    "illegal actions draw": (
        lambda before, action, now: paid(
            now, *(jnp.where(before["action_mask"][action], now.reward[side], 0) for side in ("first", "second"))
        ),
        """
        error in step(illegal action): whoever plays it does not lose
          expected  -1 for the player to move, 1 for the other
          got       after 2 plies
        """,
    ),
}


@pytest.mark.parametrize("name", BROKEN_RULES)
def test_broken_rules(name: str) -> None:
    change, message = BROKEN_RULES[name]
    assert text(message) in played(Rules(change=change))


class Plays(TicTacToe):
    """Tic-tac-toe with other positions: ``change`` is applied to every one."""

    change: Any = eqx.field(static=True, kw_only=True)

    def reset(self, key):
        position, _ = super().reset(key)
        return self.change(position), self.change(position)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda position: position | {"board": position["board"].astype(jnp.float32)},
            """
            error in reset() -> state["board"]: is not what a position holds
              expected  int8[height, width]
              got       float32[3, 3]
              hint      0 empty, 1 the first player's, -1 the second's
            """,
        ),
        (
            lambda position: position | {"action_mask": position["action_mask"].astype(jnp.int8)},
            """
            error in reset() -> state["action_mask"]: is not what a position holds
              expected  bool[9]
              got       int8[9]
              hint      which actions are legal
            """,
        ),
    ],
)
def test_positions_of_another_form(change: Any, message: str) -> None:
    class Steady(Plays):
        def step(self, state, action, key):
            now = TicTacToe().step(TicTacToe().reset(key)[0] | {"to_play": state["to_play"]}, action, key)
            return Timestep(self.change(now.state), self.change(now.state), now.reward, now.terminated)

        @property
        def observation_space(self):
            return Dict({**TicTacToe().observation_space.spaces, "board": Box(-1, 1, (3, 3), np.float32)})

    assert text(message) in read(Steady(change=change))


def test_positions_without_a_turn() -> None:
    class Turnless(TicTacToe):
        @property
        def observation_space(self):
            return Dict({name: part for name, part in super().observation_space.items() if name != "to_play"})

        def reset(self, key):
            position, _ = super().reset(key)
            position.pop("to_play")
            return position, position

        def step(self, state, action, key):
            now = super().step(state | {"to_play": jnp.int32(0)}, action, key)
            position = {name: leaf for name, leaf in now.state.items() if name != "to_play"}
            return now._replace(state=position, observation=position)

    assert 'error in reset() -> state["to_play"]: is not what a position holds\n  expected  int32[]' in read(Turnless())


def test_features_of_another_form() -> None:
    class Flat(TicTacToe):
        def features(self, position):
            return super().features(position).ravel()

    assert read(Flat()) == text("""
        error in features(): is not what networks see
          expected  float32[height, width, planes]
          got       float32[18]
    """)


@pytest.mark.slow
def test_a_game_of_chance() -> None:
    class Dice(ConnectFour):
        def step(self, state, action, key):
            return super().step(state, (action + jax.random.randint(key, (), 0, 2)) % 7, key)

    assert "error in step(): draws random numbers\n  expected  nothing left to chance" in read(Dice())


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        ({"action_name": lambda self, action: action}, "error in action_name(): is not text"),
        (
            {"action_name": lambda self, action: "a3"},
            'error in action_of("a3"): is not the action of that name\n  expected  1, which action_name calls so',
        ),
        (
            {"action_of": lambda self, name: {self.action_name(a): a for a in range(9)}[name]},
            'error in action_of("no such move"): does not refuse what is no move\n'
            "  expected  a TeguError that says what was expected\n"
            "  got       KeyError",
        ),
        (
            {
                "action_of": lambda self, name: dict(zip(map(self.action_name, range(9)), range(9), strict=True)).get(
                    name, 0
                )
            },
            'error in action_of("no such move"): does not refuse',
        ),
    ],
)
def test_names_of_actions(methods: dict[str, Any], message: str) -> None:
    assert message in played(type("Named", (TicTacToe,), methods)())


def test_a_game_without_names_of_actions() -> None:
    class Silent(TicTacToe):
        action_name = Game.action_name

    report = check(Silent(), steps=20)
    assert report.ok
    assert str(report.findings[0]).startswith("warning in action_name(), action_of(): are not defined")


def _turned(self, index, features, policy):
    return jnp.stack([jnp.rot90(features, turns) for turns in range(8)])[index], policy


def _constant(self, index, features, policy):
    return features, policy[jnp.zeros(9, int)]


def _never_plain(self, index, features, policy):
    return TicTacToe.symmetric(self, index % 7 + 1, features, policy)


@pytest.mark.parametrize(
    ("symmetric", "message"),
    [
        (_turned, "error in symmetric(1): does not turn board and actions alike"),
        (_constant, "error in symmetric(0): does not only change the places of actions"),
        (_never_plain, "error in symmetric(): no index leaves everything as it is"),
        (lambda self, index, features, policy: (features, policy * 1.0), "error in symmetric(): changes shapes or"),
    ],
)
def test_symmetries(symmetric: Any, message: str) -> None:
    assert message in played(type("Turned", (TicTacToe,), {"symmetric": symmetric})())
