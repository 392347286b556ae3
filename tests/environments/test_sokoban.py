"""Sokoban against its rules in plain Python, its levels against a search by single moves, and files of levels."""

import hashlib
from collections import deque
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tegu
from tegu.core.errors import TeguError
from tegu.environments.sokoban.game import NONE, RIGHT, UP, Sokoban
from tegu.environments.sokoban.generation import generate
from tegu.environments.sokoban.levels import BOX, PLAYER, TARGET, WALL, level_text, parse_level, read_levels
from tegu.environments.sokoban.solver import solve
from tegu.environments.sokoban.tiles import tiles

KEY = jax.random.key(0)
LEVEL = "#####\n#@  #\n#.$ #\n#   #\n#####"
MOVES = {0: (-1, 0), 1: (1, 0), 2: (0, -1), 3: (0, 1), 4: (0, 0)}


def played(rows, action):
    """The rules on text: the rows after an action, and the reward. Written apart from the environment."""
    there = {(i, j): symbol for i, row in enumerate(rows) for j, symbol in enumerate(row)}
    walls = {cell for cell, symbol in there.items() if symbol == "#"}
    goals = {cell for cell, symbol in there.items() if symbol in ".*+"}
    boxes = {cell for cell, symbol in there.items() if symbol in "$*"}
    (i, j), (down, across) = next(cell for cell, symbol in there.items() if symbol in "@+"), MOVES[action]
    before, to, behind = len(boxes & goals), (i + down, j + across), (i + 2 * down, j + 2 * across)
    if action != NONE and to in boxes and behind not in walls | boxes:
        boxes = boxes - {to} | {behind}
    if to not in walls | boxes:
        i, j = to

    def symbol(cell):
        if cell in walls:
            return "#"
        if cell == (i, j):
            return "+" if cell in goals else "@"
        return ("*" if cell in goals else "$") if cell in boxes else ("." if cell in goals else " ")

    after = ["".join(symbol((i, j)) for j in range(len(row))) for i, row in enumerate(rows)]
    return after, -0.1 + len(boxes & goals) - before + 10 * (boxes <= goals), boxes <= goals


def rollout(environment, n_envs, n_steps):
    """Random play: states ``[T + 1, B, ...]``, actions and timesteps ``[T, B]``. No episode begins anew."""

    def advance(state, inputs):
        timestep = jax.vmap(environment.step)(state, *inputs)
        return timestep.state, timestep

    first, _ = jax.vmap(environment.reset)(jax.random.split(jax.random.key(1), n_envs))
    actions = jax.random.randint(jax.random.key(2), (n_steps, n_envs), 0, 5)
    keys = jax.random.split(KEY, (n_steps, n_envs))
    timesteps = jax.jit(lambda first: jax.lax.scan(advance, first, (actions, keys))[1])(first)
    states = np.concatenate([first[None], timesteps.state])
    return states, np.asarray(actions), jax.device_get(timesteps)


@pytest.mark.slow
def test_every_step_of_random_play_is_that_of_the_rules():
    environment = Sokoban(size=6, boxes=2, n_levels=100)
    states, actions, timesteps = rollout(environment, n_envs=60, n_steps=100)
    seen = set()
    for t, env in np.ndindex(actions.shape):
        rows, reward, solved = played(level_text(states[t, env]).split("\n"), int(actions[t, env]))
        assert environment.text(states[t + 1, env]).split("\n") == rows
        assert timesteps.reward[t, env] == pytest.approx(reward)
        assert timesteps.terminated[t, env] == solved
        seen.add(round(reward, 1))
    assert seen >= {-0.1, 0.9, -1.1, 10.9}


def test_there_is_one_player_and_neither_boxes_nor_walls_appear_or_vanish():
    states, _, timesteps = rollout(Sokoban(size=8, boxes=3, n_levels=50), n_envs=40, n_steps=120)
    counted = {thing: (states & thing > 0).sum(axis=(2, 3)) for thing in (PLAYER, BOX, TARGET)}
    assert (counted[PLAYER] == 1).all()
    assert (counted[BOX] == 3).all()
    assert (counted[TARGET] == 3).all()
    assert set(np.unique(states)) <= {0, WALL, TARGET, BOX, BOX | TARGET, PLAYER, PLAYER | TARGET}
    for thing in (WALL, TARGET):
        np.testing.assert_array_equal(states[1:] & thing, np.broadcast_to(states[:1] & thing, states[1:].shape))
    np.testing.assert_array_equal(timesteps.observation, states[1:, ..., None] & np.array([1, 2, 4, 8]) > 0)


def test_generated_levels_are_solved_and_the_solution_pays_ten():
    environment = Sokoban(n_levels=50)

    def play(state, action):
        timestep = environment.step(state, action, KEY)
        return timestep.state, timestep

    play_all = jax.jit(lambda state, actions: jax.lax.scan(play, state, actions)[1])
    for level in environment.pool:
        actions = solve(level)
        assert actions is not None
        padded = jnp.asarray(actions + [NONE] * (60 - len(actions)))
        steps = jax.device_get(play_all(jnp.asarray(level), padded))
        assert np.argmax(steps.terminated) == len(actions) - 1
        assert steps.reward[len(actions) - 1] == pytest.approx(10.9)
        assert steps.reward[: len(actions)].sum() == pytest.approx(12 - 0.1 * len(actions), abs=1e-4)
        assert environment.measures(steps.state[-1]) == {"boxes_on_target": 2, "solved": 1}


def fewest_pushes(level):
    """By breadth-first search over single moves, those without a push first; None if it cannot be solved."""
    first = tuple(level_text(level).split("\n"))
    waiting, done = deque([(first, 0)]), set()
    while waiting:
        rows, pushes = waiting.popleft()
        if "$" not in "".join(rows):
            return pushes
        if rows in done:
            continue
        done.add(rows)
        for action in range(4):
            after = tuple(played(rows, action)[0])
            boxes = ["".join(there).replace("@", " ").replace("+", ".") for there in (rows, after)]
            if boxes[0] == boxes[1]:
                waiting.appendleft((after, pushes))
            else:
                waiting.append((after, pushes + 1))
    return None


@pytest.mark.slow
def test_the_solver_agrees_with_a_search_by_single_moves():
    """On generated levels of 6 x 6 cells, and the same with everything but the walls at random places."""
    rng, unsolvable = np.random.default_rng(0), 0
    for level in generate(40, 6, 2, 3):
        shuffled = level.copy()
        shuffled[level != WALL] = rng.permutation(level[level != WALL])
        for each in (level, shuffled):
            expected, actions = fewest_pushes(each), solve(each)
            assert (actions is None) == (expected is None)
            unsolvable += actions is None
            if actions is not None:
                rows, pushes = level_text(each).split("\n"), 0
                for action in actions:
                    after, _, _ = played(rows, action)
                    assert after != rows
                    bare = [there.translate(str.maketrans("@+", " .")) for there in ("".join(rows), "".join(after))]
                    pushes, rows = pushes + (bare[0] != bare[1]), after
                assert "$" not in "".join(rows)
                assert pushes == expected
    assert 5 <= unsolvable <= 38
    assert solve(LEVEL) == [RIGHT, RIGHT, 1, 2]
    assert solve("#####\n#@ $#\n# . #\n#####") is None
    assert solve("####\n#@*#\n####") == []


def test_generated_levels_follow_from_the_seed_and_are_not_too_easy():
    pool = generate(300, 7, 2, 0)
    assert hashlib.sha256(pool.tobytes()).hexdigest()[:16] == "f5d5d85b361c5c4b"
    np.testing.assert_array_equal(generate(20, 7, 2, 0), pool[:20])
    assert (generate(300, 7, 2, 1) != pool).any(axis=(1, 2)).mean() > 0.9
    assert not (pool == BOX | TARGET).any()
    assert all(fewest_pushes(level) > 2 for level in pool[:5])
    large = generate(5, 10, 4, 0)
    assert large.shape == (5, 10, 10)
    assert ((large & BOX > 0).sum(axis=(1, 2)) == 4).all()
    for level in (*pool[:50], *large):
        np.testing.assert_array_equal(parse_level(level_text(level)), level)


def test_reset_draws_all_levels():
    environment = Sokoban(n_levels=10)
    first, _ = jax.jit(jax.vmap(environment.reset))(jax.random.split(KEY, 200))
    assert len(np.unique(first.reshape(200, -1), axis=0)) == len(np.unique(environment.pool.reshape(10, -1), axis=0))


def test_levels_come_from_files(tmp_path: Path):
    one, two = LEVEL, LEVEL.replace("@ ", " @").replace(".$", "$.")
    (tmp_path / "a.txt").write_text(f"; 0\n{one}\n\n; 1\n{two}\n")
    (tmp_path / "b.txt").write_text(f"; 0\n{two}")
    (tmp_path / "notes.md").write_text("no levels")
    file = tegu.make("Sokoban-7x7-v0", size=5, levels=str(tmp_path / "a.txt"))
    assert [file.text(level) for level in file.pool] == [one, two]
    folder = Sokoban(size=5, levels=str(tmp_path))
    assert [level_text(level) for level in folder.pool] == [one, two, two]
    state, _ = jax.jit(folder.reset)(KEY)
    assert folder.text(np.asarray(state)) in (one, two)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("#####\n#@  #\n#.$  \n#   #\n#####", "a.txt, level 0: a level must have walls all round"),
        (LEVEL.replace("@", " "), "level 0: a level must have one player, got 0"),
        (LEVEL.replace("$", " "), "as many targets as boxes, and one or more, got 0 and 1"),
        (LEVEL.replace("@", "X"), "level 0: a level is drawn with '# .$*@+', got 'X'"),
        (f"{LEVEL}\n; 1\n######\n#@$ .#\n######", "level 1: expected 5 x 5 cells, got 3 x 6"),
        (LEVEL.replace("$", " ").replace(".", "*"), "level 0: it is solved already"),
        ("; 0\n", "holds no levels of Sokoban"),
        ("§", "does not hold levels of Sokoban as text"),
    ],
)
def test_files_that_hold_something_else_are_refused_in_one_line(tmp_path: Path, text, said):
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    with pytest.raises(TeguError) as error:
        read_levels(tmp_path / "a.txt", 5)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"size": 4}, "Sokoban-7x7-v0: size must be a whole number from 5 to 30, got 4"),
        ({"size": "7"}, "size must be a whole number from 5 to 30, got '7'"),
        ({"boxes": 0}, "boxes must be a whole number from 1 to 23, got 0"),
        ({"n_levels": 0}, "n_levels must be a whole number from 1 to 1,000,000, got 0"),
        ({"levels_seed": -1}, "levels_seed must be a whole number from 0"),
        ({"pixels": 1}, "pixels must be True or False, got 1"),
        ({"levels": 3}, "levels must be the path of a file or folder, as text, got 3"),
        ({"levels": "/none.txt"}, "cannot read the levels /none.txt: No such file or directory"),
        ({"max_episode_steps": 0}, "max_episode_steps must be a whole number from 1"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, said):
    with pytest.raises(TeguError) as error:
        tegu.make("Sokoban-7x7-v0", **options)
    assert said in str(error.value)


@pytest.mark.parametrize(("size", "boxes"), [(5, 7), (10, 60), (30, 500)])
def test_too_many_boxes_for_the_room_are_refused(size, boxes):
    with pytest.raises(TeguError, match=f"hardly any level of {size} x {size} cells with {boxes} boxes can be"):
        tegu.make("Sokoban-7x7-v0", size=size, boxes=boxes)


def test_no_text_is_no_level():
    with pytest.raises(TeguError, match="a level must have walls all round"):
        solve("")


def test_names_have_their_sizes():
    small, large = tegu.make("Sokoban-7x7-v0"), tegu.make("Sokoban-10x10-v0")
    assert (small.size, small.boxes, small.time_limit) == (7, 2, 120)
    assert (large.size, large.boxes, large.time_limit) == (10, 4, 120)
    assert tegu.make("Sokoban-10x10-v0", boxes=1).boxes == 1


@pytest.mark.slow
def test_pixels_show_each_cell_by_its_tile_and_tell_the_state():
    environment = Sokoban(size=6, n_levels=20, pixels=True)
    kinds = [0, WALL, TARGET, BOX, BOX | TARGET, PLAYER, PLAYER | TARGET]
    assert len(np.unique(tiles()[kinds].reshape(7, -1), axis=0)) == 7
    for level in environment.pool[:5]:
        seen = np.asarray(environment.observe(level))
        assert environment.observation_space.contains(seen)
        for row, column in np.ndindex(6, 6):
            tile = seen[8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
            np.testing.assert_array_equal(tile, tiles()[level[row, column]])
        np.testing.assert_array_equal(environment.state_of(seen), level)
    assert environment.step(level, UP, KEY).observation.dtype == jnp.uint8
    every = environment.pool[0].copy()
    every[1, 1:5], every[2, 1:4] = kinds[:4], kinds[4:]
    np.testing.assert_array_equal(environment.state_of(environment.observe(every)), every)


def test_it_is_drawn():
    environment = Sokoban(size=5, n_levels=1)
    level = parse_level(LEVEL)
    assert environment.text(level) == LEVEL
    assert environment.text(level + 5 * (level == TARGET)).split("\n")[2] == "#?$ #"
    assert environment.image(level).shape == (480, 480, 3)
