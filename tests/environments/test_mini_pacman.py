"""MiniPacman against its rules in plain Python, with the same random numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tegu
from tegu.core.errors import TeguError
from tegu.environments.mini_pacman.game import (
    DIRECTIONS,
    MOST_GHOSTS,
    SAFE,
    TASKS,
    WALLS,
    Ghosts,
    MiniPacman,
    State,
    new_level,
    turn,
)

KEY = jax.random.key(0)
MOVES = [(0, 0), (0, 1), (-1, 0), (0, -1), (1, 0)]


def turned(place, heading, player, flees, wanders, where):
    """Where a ghost goes, by looking at each way."""
    ways = [d for d in range(4) if not WALLS[tuple(np.add(place, DIRECTIONS[d]))]]
    back = (heading + 2) % 4
    if len(ways) == 1:
        return ways[0]
    if len(ways) == 2:
        return heading if heading in ways else next(d for d in ways if d != back)
    if place == player:
        return heading
    ways = [d for d in ways if d != back]
    if wanders and not flees:
        return ways[int(where * len(ways))]
    nearer = [float(np.dot(np.subtract(player, place), DIRECTIONS[d])) for d in ways]
    return ways[nearer.index(min(nearer) if flees else max(nearer))]


def by_hand(state, action, key, task):
    """What comes of an action: the parts of the state before a new level, reward, death, and whether a level ends."""
    draws = np.asarray(jax.random.uniform(jax.random.split(key)[0], (MOST_GHOSTS, 3)))
    power, reward = max(int(state.power) - 1, 0), task.step
    food, pills = np.array(state.food), np.array(state.pills)
    player = tuple(int(x) for x in np.add(state.player, MOVES[action]))
    player = tuple(map(int, state.player)) if WALLS[player] else player
    if food[player]:
        food[player], reward = False, reward + task.food
    if pills[player]:
        pills[player], reward, power = False, reward + task.pill, 20
    ghosts = [[tuple(map(int, p)), int(h), bool(a)] for p, h, a in zip(*state.ghosts, strict=True)]
    speed = (0.5 + 0.1 * (int(state.level) - 1)) * (0.5 if power else 1)
    dead = False
    for ghost, (moves, wanders, where) in zip(ghosts, draws, strict=True):
        if not ghost[2]:
            continue
        if ghost[0] != player and moves < np.float32(speed):
            ghost[1] = turned(ghost[0], ghost[1], player, power > 0, wanders < 0.05, where)
            to = tuple(int(x) for x in np.add(ghost[0], DIRECTIONS[ghost[1]]))
            ghost[0] = ghost[0] if WALLS[to] else to
        if ghost[0] == player:
            if power:
                ghost[2], reward = False, reward + task.ghost
            else:
                dead, reward = True, reward + task.death
            break
    left = {"food": food.any(), "pills": pills.any(), "ghosts": any(ghost[2] for ghost in ghosts)}[task.ends]
    over = not left or int(state.elapsed) + 1 == task.most_steps
    return food, pills, player, ghosts, power, reward, dead, over and not dead


def towards(state, random):
    """An action that mostly goes on to some food, a pill or a ghost that is near."""
    wanted = np.argwhere(state.food if state.food.sum() < 5 else state.pills)
    if not len(wanted) or random.random() < 0.3:
        return int(random.integers(5))
    nearest = wanted[np.abs(wanted - state.player).sum(axis=1).argmin()]
    to = [np.add(state.player, move) for move in MOVES]
    scores = [-np.abs(nearest - cell).sum() - 9 * WALLS[tuple(cell)] for cell in to]
    return int(np.argmax(scores))


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_it_is_the_game_by_hand(task):
    environment, random = MiniPacman(task=task), np.random.default_rng(0)
    step, reset, fresh = jax.jit(environment.step), jax.jit(environment.reset), jax.jit(new_level)
    seen = dict.fromkeys(("deaths", "levels", "eaten"), 0)
    state = jax.device_get(reset(KEY)[0])
    for t in range(500):
        if (
            t % 25 == 0
        ):  # ghosts are near, and all food; perhaps a pill was just eaten, or it is the last bit of a level
            ending = t % 75 == 0
            level = jnp.int32(1 if ending else 1 + t // 50)
            state = jax.device_get(fresh(jax.random.key(t), level))
            far = np.abs(np.argwhere(np.ones(WALLS.shape)).reshape(15, 19, 2) - state.player).sum(axis=-1)
            near = (far < 4) & ~WALLS
            places = random.permutation(np.argwhere(near))[np.arange(MOST_GHOSTS) % 4].astype(np.int32)
            ghosts = state.ghosts._replace(place=places)
            state = state._replace(food=near & (far == 1) if ending else near, ghosts=ghosts)
            state = state._replace(power=np.int32(20 * (ending or t % 50 > 0)))
        action, key = towards(state, random), jax.random.fold_in(KEY, t)
        food, pills, player, ghosts, power, reward, dead, over = by_hand(state, action, key, TASKS[task])
        now = jax.device_get(step(state, np.int32(action), key))
        assert now.reward == pytest.approx(reward, abs=1e-5)
        assert bool(now.terminated) == dead
        seen["deaths"] += dead
        seen["levels"] += over
        seen["eaten"] += sum(ghost[2] for ghost in ghosts) < state.ghosts.alive.sum()
        if over:
            assert now.state.level == state.level + 1
            assert now.state.elapsed == 0
        else:
            np.testing.assert_array_equal(now.state.food, food)
            np.testing.assert_array_equal(now.state.pills, pills)
            assert tuple(now.state.player) == player
            assert now.state.power == power
            for i, (place, heading, alive) in enumerate(ghosts):
                assert (tuple(now.state.ghosts.place[i]), int(now.state.ghosts.heading[i])) == (place, heading)
                assert bool(now.state.ghosts.alive[i]) == alive
        state = jax.device_get(reset(key)[0]) if dead else now.state
    assert min(seen.values()) > 0, seen


def test_a_level_begins_with_food_everywhere_two_pills_and_ghosts_that_are_far():
    states = jax.device_get(jax.jit(jax.vmap(new_level))(jax.random.split(KEY, 500), jnp.arange(500) % 25 + 1))
    np.testing.assert_array_equal(states.food, np.broadcast_to(~WALLS, (500, 15, 19)))
    assert (states.pills.sum(axis=(1, 2)) == 2).all()
    assert not (states.pills & WALLS).any()
    np.testing.assert_array_equal(
        states.ghosts.alive.sum(axis=1), np.minimum(1 + np.arange(500) % 25 // 2, MOST_GHOSTS)
    )
    far = np.abs(states.ghosts.place - states.player[:, None]).max(axis=-1)
    assert (far >= SAFE).all()
    places = np.concatenate([states.player, states.ghosts.place.reshape(-1, 2)])
    assert not WALLS[tuple(places.T)].any()
    assert len(np.unique(states.player, axis=0)) > 100


def test_every_way_a_ghost_may_turn():
    """From every cell, with every heading, to players all over the maze."""
    free = np.argwhere(~WALLS)
    random = np.random.default_rng(0)
    n = 3_000
    place, player = free[random.integers(len(free), size=(2, n))]
    place[:100] = player[:100]
    heading, flees, wanders = random.integers(4, size=n), random.random(n) < 0.5, random.random(n) < 0.3
    where = random.random(n).astype(np.float32)
    found = jax.vmap(turn)(*map(jnp.asarray, (place, heading, player, flees, wanders, where)))
    found = np.asarray(found)
    for i in range(n):
        given = tuple(map(int, place[i])), int(heading[i]), tuple(map(int, player[i]))
        assert found[i] == turned(*given, flees[i], wanders[i], where[i])


def test_the_maze_is_whole():
    """Every free cell can be reached, and has two ways or more."""
    reached, front = set(), {tuple(np.argwhere(~WALLS)[0])}
    while front:
        reached |= front
        near = {(r + dr, c + dc) for r, c in front for dr, dc in DIRECTIONS.tolist()}
        front = {cell for cell in near if not WALLS[cell]} - reached
    assert len(reached) == (~WALLS).sum()
    assert min(sum(not WALLS[r + dr, c + dc] for dr, dc in DIRECTIONS) for r, c in reached) >= 2
    assert WALLS.shape == (15, 19)


def test_ghosts_fade_into_the_other_plane_as_the_pill_wears_off():
    environment = MiniPacman()
    ghosts = Ghosts(np.tile([1, 1], (MOST_GHOSTS, 1)), np.zeros(MOST_GHOSTS, int), np.arange(MOST_GHOSTS) == 0)
    ghosts.place[1:] = 3, 3
    state = State(~WALLS, np.zeros(WALLS.shape, bool), np.array([13, 1]), ghosts, jnp.int32(5), 1, 0)
    seen = np.asarray(environment.observe(jax.tree.map(jnp.asarray, state)))
    assert environment.observation_space.contains(seen)
    np.testing.assert_allclose(seen[1, 1], [0, 1, 0, 0.75, 0.25, 0])
    np.testing.assert_allclose(seen[3, 3], [0, 1, 0, 0, 0, 0])
    np.testing.assert_array_equal(seen[13, 1], [0, 1, 1, 0, 0, 0])
    np.testing.assert_array_equal(seen[..., 0], WALLS)


@pytest.mark.slow
def test_it_is_drawn_and_its_task_is_checked():
    environment = tegu.make("MiniPacman-v0", task="rush")
    state = jax.device_get(environment.reset(KEY)[0])
    text = environment.text(state)
    assert text.count("@") == 1
    assert (text.count("o"), text.count("G")) == (2, 1)
    picture = environment.image(state)
    assert picture.shape == (15 * 24, 19 * 24, 3)
    with pytest.raises(
        TeguError, match="MiniPacman-v0: task must be one of regular, avoid, hunt, ambush, rush, got 'eat'"
    ):
        tegu.make("MiniPacman-v0", task="eat")
