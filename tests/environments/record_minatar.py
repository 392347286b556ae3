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
N_SCATTERED = 1000  #: states of a game from which one step is taken
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


def scattered_breakout(random: np.random.RandomState) -> tuple[dict[str, Any], dict[str, Any]]:
    """A state with things anywhere: the package's attributes, and the fields of ours."""
    bricks = np.zeros((10, 10), bool)
    bricks[1:4] = random.rand(3, 10) < random.choice([0, 0.2, 0.7])
    x, y, paddle, direction, struck = (*random.randint([10, 9, 10, 4]), random.rand() < 0.5)
    theirs = {
        "brick_map": bricks * 1.0,
        "ball_x": x,
        "ball_y": y,
        "pos": paddle,
        "ball_dir": direction,
        "strike": struck,
    }
    dx, dy = 1 if direction in (1, 2) else -1, 1 if direction in (2, 3) else -1
    ours = {"paddle": paddle, "x": x, "y": y, "dx": dx, "dy": dy, "trail": [y, x], "struck": struck, "bricks": bricks}
    return theirs, ours


def scattered_space_invaders(random: np.random.RandomState) -> tuple[dict[str, Any], dict[str, Any]]:
    aliens, friendly, enemy = (random.rand(10, 10) < density for density in (random.choice([0, 0.1, 0.4]), 0.2, 0.1))
    aliens[random.randint(10), random.randint(10)] = True
    x, interval, timer, shot, alien_shot = random.randint([0, 6, 0, 0, 0], [10, 13, 2, 2, 2])
    right = random.rand() < 0.5
    theirs = {"alien_map": aliens * 1.0, "f_bullet_map": friendly * 1.0, "e_bullet_map": enemy * 1.0, "pos": x}
    theirs |= {"alien_dir": 1 if right else -1, "enemy_move_interval": interval, "alien_move_timer": timer}
    ours = {"aliens": aliens, "friendly_bullets": friendly, "enemy_bullets": enemy, "x": x, "rightwards": right}
    ours |= {"alien_interval": interval, "alien_timer": timer, "shot_timer": shot, "alien_shot_timer": alien_shot}
    return theirs | {"shot_timer": shot, "alien_shot_timer": alien_shot}, ours


def scattered_seaquest(random: np.random.RandomState) -> tuple[dict[str, Any], dict[str, Any]]:
    """All in rows 1 to 3. As in any game, enemies of a row move in one direction, and no bullet of the player meets it.

    There are as many divers and bullets as there can be, so that no more come in this step.
    """
    x, y, right = random.randint(1, 9), random.randint(0, 4), random.rand() < 0.5
    directions = random.rand(10) < 0.5
    rows = random.randint(1, 4, 14)
    enemies = [[random.randint(10), row, directions[row], random.randint(3), random.randint(2)] for row in rows]
    armed = random.rand(len(enemies)) < 0.5
    divers = [[x if random.rand() < 0.5 else random.randint(10), max(y, 1), way, random.randint(2)] for way in (0, 1)]
    lanes = [row for row in (1, 2, 3) if abs(row - y) > 1]
    bullets = [[random.randint(10), row, right] for row in lanes]
    enemy_bullets = [[random.randint(10), random.randint(1, 4), random.rand() < 0.5] for _ in range(5)]
    low, high = [0, -2, 1, 0, 1, 1, 2, 0], [3, 7, 3, 2, 3, 4, 5, 4]
    oxygen, rescued, shot, spawn, diver, spawn_interval, move_interval, ramps = random.randint(low, high)
    oxygen = [0, 1, random.randint(201)][oxygen]
    theirs = {"sub_x": x, "sub_y": y, "sub_or": right, "oxygen": oxygen, "diver_count": rescued, "shot_timer": shot}
    theirs |= {"e_spawn_timer": spawn, "d_spawn_timer": diver, "e_spawn_speed": spawn_interval, "ramp_index": ramps}
    theirs |= {"move_speed": move_interval, "surface": y == 0, "f_bullets": bullets, "e_bullets": enemy_bullets}
    theirs |= {"e_fish": [e[:4] for e, sub in zip(enemies, armed, strict=True) if not sub], "divers": divers}
    theirs |= {"e_subs": [e for e, sub in zip(enemies, armed, strict=True) if sub]}
    flying = np.zeros((2, 10, 10), bool)
    for column, row, way in enemy_bullets:
        flying[int(way), row, column] = True
    ours = {"x": x, "y": y, "rightwards": right, "oxygen": oxygen, "rescued": rescued, "shot_timer": shot}
    ours |= {"spawn_timer": spawn, "diver_timer": diver, "spawn_interval": spawn_interval, "ramps": ramps}
    ours |= {"move_interval": move_interval, "enemy_bullets": flying}
    ours |= _newest_first("bullets", bullets, 2, ("x", "y", "rightwards"))
    ours |= _newest_first("divers", divers, 2, ("x", "y", "rightwards", "timer"))
    enemies = [[*enemy, sub] for enemy, sub in zip(enemies, armed, strict=True)]
    return theirs, ours | _newest_first(
        "enemies", enemies, 32, ("x", "y", "rightwards", "timer", "shot_timer", "armed")
    )


def _newest_first(name: str, things: list[list[Any]], places: int, fields: tuple[str, ...]) -> dict[str, np.ndarray]:
    """A list of the package's as the fields of ours, which have more places."""
    filled = np.zeros((len(fields), places), int)
    for place, thing in enumerate(reversed(things)):
        filled[:, place] = thing
    present = np.arange(places) < len(things)
    return {f"{name}.present": present} | {f"{name}.{field}": filled[i] for i, field in enumerate(fields)}


SCATTERED: dict[str, Callable[[np.random.RandomState], tuple[dict[str, Any], dict[str, Any]]]] = {
    "breakout": scattered_breakout,
    "seaquest": scattered_seaquest,
    "space_invaders": scattered_space_invaders,
}


HIDDEN = {
    "breakout": {"struck": "strike"},
    "seaquest": {"spawn_interval": "e_spawn_speed", "move_interval": "move_speed", "ramps": "ramp_index"},
    "space_invaders": {"alien_interval": "enemy_move_interval", "alien_timer": "alien_move_timer"},
}
"""Fields of ours that no observation shows at once, and the package's attributes."""


def scatter(name: str) -> dict[str, np.ndarray]:
    """One step from each of many states in which more meets than in an episode.

    Fields of ours are ``state.FIELD`` before the step, and ``after.FIELD`` those of ``HIDDEN`` after it.
    """
    random, found = np.random.RandomState(1), []
    for seed in range(N_SCATTERED):
        env, draws = new_game(name, seed)
        theirs, ours = SCATTERED[name](random)
        step = record(env, draws, [random.randint(6)], copy.deepcopy(theirs))
        after = {f"after.{field}": getattr(env.env, attribute) for field, attribute in HIDDEN[name].items()}
        states = {f"state.{field}": value for field, value in ours.items()}
        found.append({key: step[key][0] for key in OF_STEPS} | states | after)
    return {key: np.stack([each[key] for each in found]) for key in found[0]}


def packed(name: str, values: np.ndarray) -> np.ndarray:
    """Observations as bits, the rest in as few bytes as will do."""
    if name in ("observation", "first"):
        return np.packbits(values.reshape(len(values), -1), axis=1)
    if name.startswith(("state.", "after.")):
        return values.astype(bool if values.dtype == bool else np.int16)
    return values.astype({"draws": np.float32, "first_draws": np.float32, "length": np.int32}.get(name, np.uint8))


def main() -> None:
    games = {game: play(game) for game in N_DRAWS} | {f"scattered/{game}": scatter(game) for game in SCATTERED}
    arrays = {f"{game}/{name}": packed(name, values) for game, found in games.items() for name, values in found.items()}
    np.savez_compressed(FILE, **arrays)


if __name__ == "__main__":
    main()
