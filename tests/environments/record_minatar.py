"""Write ``minatar.npz``: games of the package MinAtar, step by step, with the random numbers that it drew.

Tegu's games are compared with these, since the package brings Seaborn, Pandas and more along. To record anew, in an
environment of its own: ``pip install --no-deps minatar==1.0.15``, ``pip install numpy`` and
``python tests/environments/record_minatar.py``, which takes some minutes.
"""

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

FILE = Path(__file__).with_name("minatar.npz")
N_DRAWS = {"asterix": 3, "breakout": 1, "freeway": 8, "seaquest": 5, "space_invaders": 0}
N_STEPS = 5000  #: of each game
LONGEST = {"freeway": 2501, "space_invaders": 900}  #: steps of an episode; 1500 where nothing is said
OF_STEPS = ("draws", "action", "observation", "reward", "terminated")
HARD = {"e_spawn_speed": 1, "move_speed": 2, "ramp_index": 20}  #: what Seaquest comes to

Env = Any
Policy = Callable[[Env, np.random.RandomState], int]


class Draws:
    """Random numbers for the package, remembered as uniform ones in [0, 1) that lead to the same choice.

    For the k-th of n choices that is any number in the k-th of n parts, so that all of them are tried.
    """

    def __init__(self, seed: int):
        self._random, self._within = np.random.RandomState(seed), np.random.RandomState(seed + 1000)
        self.drawn: list[float] = []

    def rand(self, *shape: int) -> Any:
        values = self._random.rand(*shape)
        self.drawn += np.ravel(values).tolist()
        return values

    def randint(self, low: int, high: int | None = None, size: int | None = None) -> Any:
        low, high = (0, low) if high is None else (low, high)
        values = self._random.randint(low, high, size)
        within = self._within.uniform(0.001, 0.999, np.size(values))  # rounding to float32 leaves it there
        self.drawn += ((np.ravel(values) - low + within) / (high - low)).tolist()
        return values

    def taken(self) -> list[float]:
        """What was drawn since the last time."""
        drawn, self.drawn = self.drawn, []
        return drawn


def record(env: Env, draws: Draws, actions: Iterable[int], changes: dict[str, int]) -> dict[str, np.ndarray]:
    """Play an episode with these actions, each asked for when it is its turn.

    ``changes`` are made to the first state. Returns ``first_draws [n]`` and ``first [10, 10, C]`` (observation), and of
    ``T`` steps ``draws [T, 1 + n]``, ``action``, ``observation``, ``reward`` and ``terminated``.
    """
    name = env.env_name
    draws.taken()
    env.reset()
    env.last_action = 0  # the package would go on with that of the last episode
    vars(env.env).update(changes)
    first_draws, first, steps = _as_ours(name, draws.taken()), env.state(), []
    for action in actions:
        reward, terminated = env.act(action)
        sticky, *drawn = draws.taken()
        steps.append(([sticky, *_as_ours(name, drawn)], action, env.state(), reward, terminated))
        if terminated:
            break
    columns = zip(OF_STEPS, zip(*steps, strict=True), strict=True)
    return {"first_draws": first_draws, "first": first, **{name: np.array(values) for name, values in columns}}


def new_game(name: str, seed: int) -> tuple[Env, Draws]:
    """A game of the package and the random numbers that it draws, those of sticky actions included."""
    from minatar import Environment

    env, draws = Environment(name), Draws(seed)
    env.random = env.env.random = draws
    return env, draws


def _as_ours(name: str, drawn: list[float]) -> np.ndarray:
    """A game's random numbers in the places in which Tegu takes them, zero where there are none."""
    if name == "freeway" and drawn:  # eight for the speeds and eight for the directions: one for both
        speed, direction = np.split(np.array(drawn), 2)
        drawn = ((np.floor(2 * direction) + speed) / 2).tolist()
    if name == "seaquest" and len(drawn) == 2:  # three for an enemy before two for a diver
        drawn = [0.0] * 3 + drawn
    return np.array(drawn + [0.0] * (N_DRAWS[name] - len(drawn)))


def at_random(env: Env, random: np.random.RandomState) -> int:
    return random.randint(6)


def follow_the_ball(env: Env, random: np.random.RandomState) -> int:
    """For Breakout. The ball is met with the paddle or its edge, by chance."""
    game = env.env
    aim = game.ball_x
    if game.ball_y >= 7 and random.rand() < 0.5:
        aim += 1 if game.ball_dir in (1, 2) else -1
    return 1 if aim < game.pos else 3 if aim > game.pos else 0


def go_up(env: Env, random: np.random.RandomState) -> int:
    """For Freeway. Now and then the chicken waits, or turns back."""
    return 2 if random.rand() < 0.8 else random.randint(6)


def look_ahead(env: Env, random: np.random.RandomState, actions: Sequence[int] = range(6)) -> int:
    """The first action of the best of some random continuations, in copies that draw the same numbers."""
    best, found, rollouts, depth = -np.inf, 0, 4, 12
    for action in np.tile(random.permutation(actions), rollouts):
        copied = copy.deepcopy(env)
        value, next_action = 0.0, action
        for step in range(depth):
            reward, terminated = copied.act(next_action)
            value += reward * 0.95**step - 20 * terminated
            if terminated:
                break
            next_action = actions[random.randint(len(actions))]
        value += _promise(copied) - _promise(env)
        if value > best:
            best, found = value, action
    return int(found)


def dodge(env: Env, random: np.random.RandomState) -> int:
    """For Space Invaders: let the aliens land."""
    return look_ahead(env, random, (0, 1, 3))


def chosen(policy: Policy, env: Env, random: np.random.RandomState, most: int) -> Iterator[int]:
    for _ in range(most):
        yield policy(env, random)


def _promise(env: Env) -> float:
    """What makes a state good that has not paid yet: in Seaquest divers on board, and coming up in time."""
    game = env.env
    if env.env_name != "seaquest":
        return 0.0
    return 0.8 * game.diver_count + 0.03 * min(game.oxygen, 100) + 0.5 * game.ramp_index


POLICIES: dict[str, tuple[Policy, ...]] = {
    "asterix": (look_ahead, look_ahead, look_ahead, at_random),
    "breakout": (follow_the_ball, follow_the_ball, follow_the_ball, at_random),
    "freeway": (go_up,),
    "seaquest": (look_ahead, look_ahead, look_ahead, at_random),
    "space_invaders": (look_ahead, dodge, at_random, at_random),
}


def play(name: str) -> dict[str, np.ndarray]:
    """Episodes with each of the policies in turn, ``N_STEPS`` in all; ``length`` is that of each.

    Every fourth of Seaquest is hard from the beginning.
    """
    episodes: list[dict[str, np.ndarray]] = []
    total, random = 0, np.random.RandomState(0)
    while total < N_STEPS:
        seed = len(episodes)
        env, draws = new_game(name, seed)
        policy = POLICIES[name][seed % len(POLICIES[name])]
        hard = name == "seaquest" and seed % 4 == 1
        left = min(LONGEST.get(name, 1500), N_STEPS - total)
        episode = record(env, draws, chosen(policy, env, random, left), HARD if hard else {})
        episodes.append(episode | {"hard": np.bool_(hard)})
        total += len(episode["action"])
        print(name, seed, policy.__name__, hard, len(episode["action"]), episode["reward"].sum(), flush=True)
    of_steps = {name: np.concatenate([episode[name] for episode in episodes]) for name in OF_STEPS}
    of_episodes = {name: np.stack([episode[name] for episode in episodes]) for name in ("first_draws", "first", "hard")}
    return of_steps | of_episodes | {"length": np.array([len(episode["action"]) for episode in episodes])}


def packed(name: str, values: np.ndarray) -> np.ndarray:
    """Observations as bits, the rest in as few bytes as will do."""
    if name in ("observation", "first"):
        return np.packbits(values.reshape(len(values), -1), axis=1)
    return values.astype({"draws": np.float32, "first_draws": np.float32, "length": np.int32}.get(name, np.uint8))


def main() -> None:
    games = {game: play(game) for game in N_DRAWS}
    arrays = {f"{game}/{name}": packed(name, values) for game, found in games.items() for name, values in found.items()}
    np.savez_compressed(FILE, **arrays)


if __name__ == "__main__":
    main()
