"""Tests of one agent in the world of hide-and-seek: what is paid, by hand in float64, and what can be done."""

from itertools import product

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

import tegu
from tegu.check.jax_environments import check_jax
from tegu.environments.hide_and_seek.observation import OBJECT, OTHER, SELF
from tegu.environments.hide_and_seek.random_rooms import walls_inside
from tegu.training.plan import make_plan, spec_at

RETURN = tegu.make("hide-and-seek-lock-and-return", rooms=1)
SEQUENTIAL = tegu.make("hide-and-seek-sequential-lock")
KEY = jax.random.key(0)


class LockingByHand:
    """The rewards of locking tasks as their authors describe them, step by step, with lists of boxes to be locked."""

    def __init__(self, agent, boxes, *, in_order, returns):
        self.in_order, self.returns, self.home = in_order, returns, np.float64(agent)
        self.locked, self.back = [False] * len(boxes), 0.0
        self.next = self.nearest(agent, boxes)

    def nearest(self, agent, boxes):
        """The next box and its distance; None: all are locked."""
        away = {i: np.linalg.norm(np.float64(boxes[i]) - agent) for i, lock in enumerate(self.locked) if not lock}
        if not away:
            return None
        index = min(away) if self.in_order else min(away, key=lambda i: away[i])
        return index, away[index]

    def step(self, agent, boxes, locked):
        changes = [int(now) - int(was) for now, was in zip(locked, self.locked, strict=True)]
        paid = 5.0 * changes.count(1) - 5.0 * changes.count(-1)
        self.locked = list(locked)
        old, new, back = self.next, self.nearest(agent, boxes), np.linalg.norm(np.float64(agent) - self.home)
        if old is not None and new is not None and old[0] == new[0]:
            paid += 0.5 * (old[1] - new[1])
        elif old is not None:
            paid += 0.5 * old[1] if locked[old[0]] else -0.5 * new[1]
        elif new is not None:
            paid -= 0.5 * new[1]
        elif self.returns:
            paid += 0.5 * (self.back - back)
        self.next, self.back = new, back
        return paid + float(all(locked) and (not self.returns or back <= 0.1))


def begun(environment, key=KEY):
    return jax.device_get(jax.jit(environment.reset)(key)[0])


def moved(trial, x, y, *, yaw=None, **others):
    """The trial with bodies elsewhere and other parts of the world."""
    bodies = trial.world.bodies._replace(x=np.float32(x), y=np.float32(y))
    bodies = bodies if yaw is None else bodies._replace(yaw=np.float32(yaw))
    return trial._replace(world=trial.world._replace(bodies=bodies, **others))


@pytest.mark.parametrize(
    ("environment", "in_order", "returns"),
    [(tegu.make("hide-and-seek-lock-and-return", boxes=3, rooms=1), False, True), (SEQUENTIAL, True, False)],
    ids=lambda value: getattr(value, "id", value),
)
def test_locking_pays_as_by_hand_whatever_happens(environment, in_order, returns):
    """Sequences of worlds in which boxes move, lock and unlock as they like; the agent often stays or is at home."""
    random, boxes, steps = np.random.default_rng(1), environment.boxes, 300
    first = begun(environment)
    n_bodies, n_objects = len(first.world.bodies.x), len(first.world.exist)
    home = np.array([first.world.bodies.x[0], first.world.bodies.y[0]])
    places = 6 + 6 * random.random((steps, n_bodies, 2)).astype(np.float32)
    places[:, 0] = np.where(
        random.random((steps, 1)) < 0.5, home + 0.07 * random.standard_normal((steps, 2)), places[:, 0]
    )
    flips = random.random((steps, n_objects)) < 0.2
    locked = np.logical_xor.accumulate(flips, axis=0) | (random.random((steps, 1)) < 0.3)
    locked[:, boxes:] &= random.random((steps, n_objects - boxes)) < 0.5  # ramps do not matter
    trials = [first] + [moved(first, *places[t].T, locked=locked[t]) for t in range(steps)]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *trials)
    before, after = (jax.tree.map(lambda leaf, part=part: leaf[part], stacked) for part in (slice(-1), slice(1, None)))
    reward, done = jax.jit(jax.vmap(environment.judged))(before, after)
    start = np.stack(first.world.bodies[:2], axis=1)
    by_hand = LockingByHand(start[0], start[1 : 1 + boxes], in_order=in_order, returns=returns)
    expected = [by_hand.step(at[0], at[1 : 1 + boxes], lock[:boxes]) for at, lock in zip(places, locked, strict=True)]
    np.testing.assert_allclose(reward, expected, atol=1e-5)
    assert not done.any()
    measured = jax.vmap(environment.measures)(after)
    back = np.linalg.norm(places[:, 0] - home, axis=1) <= 0.1
    success = locked[:, :boxes].all(axis=1) & (back if returns else True)
    np.testing.assert_array_equal(measured["success"], success)
    np.testing.assert_allclose(measured["locked"], locked[:, :boxes].mean(axis=1), rtol=1e-6)
    assert 5 < success.sum() < 150


@pytest.mark.slow
def test_an_agent_that_locks_and_returns_gets_what_that_is_worth():
    """It walks a metre to a box, locks it, walks back, and stands. By hand: 5, 0.5 for each metre there and back, and 1
    for each step at home."""
    trial = begun(RETURN)
    start = np.float32([8.0, 9.0])
    trial = moved(trial, [8.0, 9.0], [9.0, 9.0], yaw=[0.0, 0.0])
    then = trial.world.prepared._replace(x=trial.world.bodies.x, y=trial.world.bodies.y)
    visible = np.ones_like(trial.world.visible)
    trial = trial._replace(world=trial.world._replace(prepared=then, visible=visible))
    step, reward, success, locked, agent = jax.jit(RETURN.step), [], [], [], [start]
    for _ in range(120):
        world = trial.world
        wish = 8.0 if world.locked[0] else 8.7  # in reach: the box's side is at 8.75
        push = int(np.clip(round(5 + 12 * (wish - world.bodies.x[0])), 0, 10))
        timestep = jax.device_get(step(trial, jnp.array([push, 5, 5, 0, 1]), KEY))
        trial = timestep.state
        reward.append(float(timestep.reward))
        success.append(float(RETURN.measures(trial)["success"]))
        agent.append(np.array([trial.world.bodies.x[0], trial.world.bodies.y[0]]))
        assert not timestep.terminated
        locked.append(bool(trial.world.locked[0]))
    when = 1 + locked.index(True)
    assert all(locked[when:])
    way_back = np.linalg.norm(agent[when] - start) - np.linalg.norm(agent[-1] - start)
    assert sum(success) > 60
    assert way_back > 0.3
    assert sum(reward) == pytest.approx(5 + 0.5 * 1.0 + 0.5 * way_back + sum(success), abs=1e-4)
    unlocked = jax.device_get(step(moved(trial, [8.58, 9.0], [9.0, 9.0]), jnp.array([5, 5, 5, 0, 0]), KEY))
    assert not unlocked.state.world.locked[0]
    assert unlocked.reward == pytest.approx(-5 - 0.5 * 0.42, abs=1e-3)


def test_only_the_next_box_in_order_can_be_locked_and_all_locked_ones_unlocked():
    trial = begun(SEQUENTIAL)
    for boxes, ramps in product(product([False, True], repeat=4), product([False, True], repeat=3)):
        locked = np.array(boxes + ramps)
        waiting = [i for i, lock in enumerate(boxes) if not lock][1:]
        can = [i not in waiting for i in range(7)]
        world = trial.world._replace(locked=locked)
        assert SEQUENTIAL.lockable(jax.tree.map(jnp.asarray, world)).tolist() == can


@pytest.mark.slow
def test_boxes_lock_in_order_only():
    """The agent sees all and stands near one of two boxes: 20 cm from its side, 45 cm from its middle."""
    step = jax.jit(SEQUENTIAL.step)
    near, far = 9.45, 10.5

    def after(trial, want, first):
        """One step of an agent that stands still; ``first``: the x of the first box and of the second."""
        x, y = [9.0, *first, 7.0, 11.5, 11.5, 6.5, 6.5], [9.0, 9.0, 9.0, 7.0, 11.5, 6.5, 11.5, 6.5]
        placed = moved(trial, x, y, yaw=[0.0] * 8, visible=np.ones_like(trial.world.visible))
        return jax.device_get(step(placed, jnp.array([5, 5, 5, 0, want]), KEY))

    wrong = after(begun(SEQUENTIAL), 1, (far, near))
    assert not wrong.state.world.locked.any()
    assert wrong.reward == pytest.approx(0, abs=1e-4)
    right = after(wrong.state, 1, (near, far))
    assert right.state.world.locked.tolist() == [True] + [False] * 6
    assert right.reward == pytest.approx(5 + 0.5 * 0.45, abs=1e-4)
    second = after(right.state, 1, (far, near))
    assert second.state.world.locked.tolist() == [True, True] + [False] * 5
    lost = after(second.state, 0, (near, far))
    assert lost.state.world.locked.tolist() == [False, True] + [False] * 5
    assert lost.reward == pytest.approx(-5 - 0.5 * 0.45, abs=1e-4)
    third = after(lost.state, 0, (far, near))  # the second can be unlocked still
    assert not third.state.world.locked.any()
    relocked = after(third.state, 1, (far, near))  # but not locked before the first
    assert not relocked.state.world.locked.any()


@pytest.mark.slow
def test_three_rooms_are_closed_and_each_has_a_ramp():
    states = jax.device_get(jax.jit(jax.vmap(lambda key: SEQUENTIAL.reset(key)[0]))(jax.random.split(KEY, 60)))
    middle = 6 + 0.02 * (np.arange(300) + 0.5)
    x, y = np.meshgrid(middle, middle, indexing="ij")
    shapes = set()
    for game in range(60):
        walls, bodies = (
            jax.tree.map(lambda leaf, game=game: leaf[game], part) for part in (states.world.walls, states.world.bodies)
        )
        assert len(walls.x) == 10
        taken = np.zeros_like(x, bool)
        for a, b, half_a, half_b in zip(walls.x[8:], walls.y[8:], walls.half_x[8:], walls.half_y[8:], strict=True):
            taken |= (np.abs(x - a) <= half_a) & (np.abs(y - b) <= half_b)
        room, number = ndimage.label(~taken)
        assert number == 3
        sizes = sorted(np.bincount(room.ravel())[1:] / 300**2)
        assert 0.36 < sizes[2] < 0.62
        assert 0.1 < sizes[0] <= sizes[1] < 0.4
        index = ((np.stack(bodies[:2], axis=1) - 6) / 0.02).astype(int)
        rooms = room[tuple(index.T)]
        assert sorted(rooms[5:]) == [1, 2, 3]
        large = np.bincount(room.ravel())[1:].argmax() + 1
        shapes.add((large, bool(walls.half_x[8] < walls.half_y[8])))
    assert len(shapes) >= 4  # the first wall either way, the second on either side
    boxes = states.world.bodies.x[:, 1:5]
    assert 8.3 < boxes.mean() < 9.7


def test_six_rooms_are_hardly_ever_fewer():
    plan = tegu.make("hide-and-seek-lock-and-return").plan
    draws = jax.random.uniform(KEY, (plan.n_draws, 2_000))
    rooms = 1 + sum(np.asarray(wall.exists).astype(int) for wall in walls_inside(plan, draws))
    assert rooms.max() == 6
    assert (rooms == 6).mean() > 0.95
    assert (plan.walls(draws).top[4:8] == 4).all()  # it is always walled


@pytest.mark.slow
@pytest.mark.parametrize("environment", [RETURN, SEQUENTIAL], ids=lambda environment: environment.id)
def test_a_hider_observes_what_it_does_in_hide_and_seek(environment):
    """Positions in the same frame; the other agent, and the ramp that there is not, are zeros."""
    trial, seen = jax.device_get(jax.jit(jax.vmap(environment.reset))(jax.random.split(KEY, 30)))
    layout, world = environment.layout, trial.world
    assert seen.shape == (30, layout.size) == (30, *environment.observation_space.shape)
    own = dict(zip(SELF, seen[:, layout.own].T, strict=True))
    np.testing.assert_array_equal(own["x"], world.bodies.x[:, 0])
    assert (own["x"] > 6.1).all()
    assert (own["x"] < 11.9).all()
    assert (own["is_hider"] == 1).all()
    assert (own["prepared"] == 0).all()
    assert not seen[:, layout.others[0]].any()
    ramps = environment.cast.ramps
    parts = [*layout.boxes, *layout.ramps]
    for index, where in enumerate(parts):
        part = dict(zip(OBJECT, seen[:, where].T, strict=True))
        visible = world.visible[:, 0, 1 + index] if index < environment.boxes + ramps else np.zeros(30, bool)
        np.testing.assert_array_equal(part["visible"], visible)
        if visible.any():
            np.testing.assert_array_equal(part["x"][visible], world.bodies.x[visible, 1 + index])
    listing = tegu.make(environment.id, entities=True, **({"rooms": 1} if environment is RETURN else {}))
    lists = jax.device_get(jax.jit(listing.reset)(jax.random.split(KEY, 30)[3])[1])
    assert listing.observation_space.contains(lists)
    assert {name: part.shape[-1] for name, part in lists.items()} == {
        **{"self": len(SELF), "lidar": 30, "agents": len(OTHER), "boxes": len(OBJECT), "ramps": len(OBJECT)},
    }
    np.testing.assert_array_equal(lists["boxes"].ravel(), seen[3, layout.boxes[0].start : layout.boxes[-1].stop])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hide-and-seek-lock-and-return", "hide-and-seek-sequential-lock"])
def test_attention_has_the_weights_of_hide_and_seek_in_rooms(name):
    """A policy of IPPO there can begin as PPO's here: all arrays have the same shapes in the same order."""

    def weights(environment, algorithm, **given):
        given |= {"features_extractor": "attention+lidar", "net_arch": [8], "normalize_observation": False}
        plan = make_plan(environment, algorithm, environment_options={"entities": True}, **given)
        spec = spec_at(plan.source, plan.n_envs)
        learner = eqx.filter_eval_shape(plan.algorithm.init, KEY, spec)
        return learner.policies[("hider_0",)] if algorithm == "ippo" else learner

    there, here = weights("hide-and-seek-rooms", "ippo"), weights(name, "ppo")
    shapes = [[leaf.shape for leaf in jax.tree.leaves(one.network)] for one in (there, here)]
    assert shapes[0] == shapes[1]
    assert sum(map(np.prod, shapes[0])) > 50_000


def test_options_are_as_declared_and_wrong_ones_are_refused():
    assert RETURN.max_episode_steps == SEQUENTIAL.max_episode_steps == 120
    assert tegu.make("hide-and-seek-sequential-lock", horizon=30).max_episode_steps == 30
    assert RETURN.action_space.nvec.tolist() == [11, 11, 11, 2, 2]
    for wrong in ({"rooms": 0}, {"boxes": 0}, {"n_buckets": 4}, {"entities": 1}, {"max_force": -1.0}, {"substeps": 0}):
        with pytest.raises(tegu.TeguError, match=f"hide-and-seek-lock-and-return: {next(iter(wrong))} must be"):
            tegu.make("hide-and-seek-lock-and-return", **wrong)


@pytest.mark.long
@pytest.mark.parametrize("environment", [RETURN, SEQUENTIAL], ids=lambda environment: environment.id)
def test_the_check_finds_nothing_wrong(environment):
    assert not check_jax(environment, steps=130, seed=0).findings


@pytest.mark.slow
@pytest.mark.parametrize("environment", [RETURN, SEQUENTIAL], ids=lambda environment: environment.id)
def test_a_picture_shows_the_house_and_its_goal(environment):
    pytest.importorskip("PIL")
    trial = begun(environment)
    walked = moved(
        trial, trial.world.bodies.x + 0.3 * (np.arange(len(trial.world.bodies.x)) == 0), trial.world.bodies.y
    )
    pictures = [environment.image(trial), environment.image(walked)]
    assert pictures[0].shape == (500, 500, 3)
    assert not np.array_equal(*pictures)
    home = walked._replace(
        world=walked.world._replace(prepared=walked.world.prepared._replace(x=trial.world.bodies.x + 1))
    )
    assert np.array_equal(pictures[1], environment.image(home)) == (environment is SEQUENTIAL)
