"""The rules of hide-and-seek: grabbing, locking, rewards, preparation, what is observed."""

from itertools import product

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tegu
from tegu.check.jax_environments import check_jax
from tegu.environments.hide_and_seek import tools
from tegu.environments.hide_and_seek.observation import OBJECT, OTHER, SELF
from tegu.nn.description import describe
from tegu.spaces.features import zeros
from tegu.training.plan import make_plan, spec_at

TINY = tegu.make("hide-and-seek-tiny")
QUADRANT = tegu.make("hide-and-seek-quadrant", boxes=1)  # two hiders, two seekers
IS_HIDER = np.array([True, True, False, False])
YES, NO = True, False


@pytest.fixture(scope="module")
def four():
    """A state of two hiders and two seekers, a box and a ramp; everybody sees everything."""
    state = jax.device_get(jax.jit(QUADRANT.reset)(jax.random.key(0))[0])
    return state._replace(visible=np.ones_like(state.visible))


def grabbed(state, distance, wants):
    return np.asarray(tools.grab(state, jnp.array(distance), jnp.array(wants), IS_HIDER).holds)


def test_an_agent_grabs_the_nearest_object_in_reach_that_it_sees_and_may_take(four):
    near = [[0.2, 0.1], [0.1, 0.2], [0.26, 0.24], [0.26, 0.3]]
    all_want = [YES] * 4
    assert grabbed(four, near, all_want).tolist() == [[NO, YES], [YES, NO], [NO, YES], [NO, NO]]
    assert not grabbed(four, near, [NO] * 4).any()
    blind = four._replace(visible=four.visible.copy())
    blind.visible[0, 4 + 1] = False
    assert grabbed(blind, near, all_want)[0].tolist() == [YES, NO]
    for locker, allowed in ((1, [YES, YES, NO, NO]), (2, [NO, NO, YES, YES])):  # only the locker's team
        locked = four._replace(locked=np.array([YES, NO]), locker=np.array([locker, 0], np.int32))
        assert grabbed(locked, [[0.1, 1.0]] * 4, all_want)[:, 0].tolist() == allowed
    equal = grabbed(four, [[0.1, 0.1]] * 4, all_want)  # one each, however near
    assert equal.sum(axis=1).tolist() == [1] * 4


def test_a_hold_lasts_while_it_is_wanted_and_no_longer(four):
    held = four._replace(holds=np.array([[NO, YES], [NO, NO], [NO, NO], [NO, NO]]))
    held = held._replace(visible=np.zeros_like(four.visible))
    assert grabbed(held, [[0.1, 0.9]] * 4, [YES] * 4).tolist() == held.holds.tolist()
    assert not grabbed(held, [[0.1, 0.9]] * 4, [NO] * 4).any()


def locked_after(state, wants, near, *, locked=NO, locker=0, lockable=YES):
    """Whether the box is locked then, and by whom."""
    distance = np.where(near, 0.1, 1.0)[:, None] * np.ones(2)
    state = state._replace(locked=np.array([locked, NO]), locker=np.array([locker, 0], np.int32))
    after = tools.lock(state, jnp.array(distance), jnp.array(wants), IS_HIDER, np.array([lockable, NO]))
    assert not after.locked[1]
    return bool(after.locked[0]), int(after.locker[0])


@pytest.mark.slow
@pytest.mark.parametrize(("locked", "locker"), list(product([NO, YES], [0, 1, 2, 3])))
def test_locking_follows_the_rule_for_all_that_agents_near_it_want(four, locked, locker):
    """The whole truth table: of each agent, whether it is near and what it wants."""
    for near, wants in product(product([NO, YES], repeat=4), product([NO, YES], repeat=4)):
        veto = any(n and not w and (i < 2) == (locker < 2) for i, (n, w) in enumerate(zip(near, wants, strict=True)))
        wish = [i for i, (n, w) in enumerate(zip(near, wants, strict=True)) if n and w]
        expected = not veto and (locked or bool(wish))
        by = wish[0] if expected and not locked else locker
        assert locked_after(four, wants, near, locked=locked, locker=locker) == (expected, by), (near, wants)


def test_the_traps_of_locking(four):
    everyone, seeker = [YES] * 4, [NO, NO, YES, NO]
    # A hider that stands near what was never locked keeps a seeker from locking it; alone the seeker locks it.
    assert locked_after(four, seeker, [YES, NO, YES, NO]) == (NO, 0)
    assert locked_after(four, seeker, seeker) == (YES, 2)
    # Not to want it locked unlocks it, but not the other team's.
    assert locked_after(four, [NO] * 4, [NO, NO, NO, YES], locked=YES, locker=2) == (NO, 2)
    assert locked_after(four, [NO] * 4, [YES, YES, NO, NO], locked=YES, locker=2) == (YES, 2)
    assert locked_after(four, everyone, everyone, lockable=NO) == (NO, 0)
    blind = four._replace(visible=np.zeros_like(four.visible))
    assert locked_after(blind, everyone, everyone) == (NO, 0)


def rewards(world, state, in_preparation):
    return np.asarray(world._rewards(state, jnp.array(in_preparation))).tolist()


def test_rewards(four):
    """All pairs of who sees whom; being out of bounds replaces the reward; the preparation pays nothing at all."""
    for seen in product([NO, YES], repeat=4):
        visible = np.zeros_like(four.visible)
        visible[:2] = True  # what hiders see does not matter
        visible[2:4, :2] = np.reshape(seen, (2, 2))
        visible[2, 3] = visible[3, 2] = True
        state = four._replace(visible=visible)
        expected = [-1, -1, 1, 1] if any(seen) else [1, 1, -1, -1]
        assert rewards(QUADRANT, state, NO) == expected
        assert rewards(QUADRANT, state, YES) == [0] * 4
        out = jax.tree.map(np.copy, state)
        out.bodies.x[2] = 5.95
        assert rewards(QUADRANT, out, NO) == [*expected[:2], -10, expected[3]]
        assert rewards(QUADRANT, out, YES) == [0] * 4
        out = jax.tree.map(np.copy, state)
        out.bodies.y[4] = 0.05
        assert rewards(QUADRANT, out, NO) == [-10] * 4
        assert rewards(tegu.make("hide-and-seek-quadrant", boxes=1, penalize_objects_out=False), out, NO) == expected
        assert rewards(QUADRANT, out, YES) == [0] * 4


@pytest.fixture(scope="module")
def episode():
    """A whole episode of ``hide-and-seek-tiny`` in twelve copies, the last as the first, everybody at full force."""
    keys = jax.random.split(jax.random.key(3), 11)
    keys = jnp.concatenate([keys, keys[:1]])
    state, first = jax.vmap(TINY.reset)(keys)
    action = {name: jnp.broadcast_to(jnp.array([4, 4, 3, 1, 1]), (12, 5)) for name in TINY.agents}

    def advance(state, _):
        timestep = jax.vmap(TINY.step)(state, action, keys)
        return timestep.state, (timestep, jax.vmap(TINY.measures)(timestep.state))

    _, (timesteps, measures) = jax.jit(lambda s: jax.lax.scan(advance, s, None, TINY.horizon))(state)
    return jax.device_get((state, first, timesteps, measures))


@pytest.mark.slow
def test_in_the_preparation_seekers_do_nothing_and_nothing_pays(episode):
    state, _, timesteps, _ = episode
    prep = int(TINY.prep_fraction * TINY.horizon)
    assert prep == 24
    x = np.concatenate([state.bodies.x[None], timesteps.state.bodies.x])
    moved = np.abs(np.diff(x, axis=0)) > 0.01
    assert not moved[:prep, :, 1].any()
    assert moved[prep, :, 1].any()
    assert moved[0, :, 0].any()
    for reward in timesteps.reward.values():
        assert not reward[:prep].any()
        assert (np.abs(reward[prep:]) == 1).all()
    np.testing.assert_array_equal(timesteps.reward["hider_0"], -timesteps.reward["seeker_0"])
    own = timesteps.observation["seeker_0"][:, 0, TINY.layout.own]
    np.testing.assert_allclose(own[:, SELF.index("prepared")], np.minimum(1, np.arange(1, 61) / 24), rtol=1e-6)


@pytest.mark.slow
def test_measures_are_the_originals_statistics(episode):
    state, _, timesteps, measures = episode
    box = np.hypot(
        *(now[:, :, 2] - then[:, 2] for now, then in zip(timesteps.state.bodies[:2], state.bodies[:2], strict=True))
    )
    np.testing.assert_allclose(measures["max_box_move"], box, atol=1e-6)
    np.testing.assert_allclose(measures["max_box_move_prep"][:24], box[:24], atol=1e-6)
    np.testing.assert_allclose(measures["max_box_move_prep"][24:], np.repeat(box[23:24], 36, axis=0), atol=1e-6)
    then, upto = timesteps.state.prepared, np.minimum(np.arange(60), 23)
    for name in ("x", "y", "yaw"):
        np.testing.assert_array_equal(getattr(then, name), getattr(timesteps.state.bodies, name)[upto])
    by_hider = timesteps.state.locked & (timesteps.state.locker == 0)
    np.testing.assert_array_equal(then.hiders_locked, by_hider[upto])
    assert 0 < then.hiders_locked.mean() < 1
    np.testing.assert_array_equal(measures["num_box_lock"], timesteps.state.locked[:, :, 0])
    np.testing.assert_array_equal(measures["num_ramp_lock"], timesteps.state.locked[:, :, 1])
    seen = timesteps.state.visible[:, :, 1, 0] & (np.arange(60) >= 24)[:, None]
    np.testing.assert_array_equal(measures["seen"], seen)
    assert box.max() > 0.1


@pytest.mark.slow
def test_a_key_decides_everything_and_a_batch_is_several_alone(episode):
    state, first, timesteps, _ = episode
    for leaf in jax.tree.leaves((first, timesteps)):
        one, same = (leaf[:, 0], leaf[:, -1]) if leaf.ndim > 1 and leaf.shape[0] == 60 else (leaf[0], leaf[-1])
        np.testing.assert_array_equal(one, same)
    assert not np.array_equal(state.bodies.x[0], state.bodies.x[1])
    step = jax.jit(TINY.step)
    action = {name: jnp.array([4, 4, 3, 1, 1]) for name in TINY.agents}
    for copy in range(2):
        alone = jax.tree.map(lambda leaf, copy=copy: leaf[copy], state)
        for index in range(5):
            timestep = step(alone, action, jax.random.key(0))
            batched = jax.tree.map(lambda leaf, i=index, copy=copy: leaf[i, copy], timesteps)
            jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), timestep, batched)
            alone = batched.state


@pytest.mark.slow
def test_an_observation_is_laid_out_as_it_says_and_hides_what_is_not_seen(episode):
    _, _, timesteps, _ = episode
    layout = TINY.layout
    assert layout.size == len(SELF) + 12 + len(OTHER) + 2 * len(OBJECT) == TINY.observation_space["hider_0"].shape[0]
    for agent, name in enumerate(TINY.agents):
        observed, state = timesteps.observation[name], timesteps.state
        own = dict(zip(SELF, np.moveaxis(observed[..., layout.own], -1, 0), strict=True))
        np.testing.assert_allclose(own["x"], state.bodies.x[..., agent])
        np.testing.assert_allclose(own["spin"], state.bodies.spin[..., agent])
        assert (own["is_hider"] == (agent == 0)).all()
        parts = [(OTHER, layout.others[0], 1 - agent), (OBJECT, layout.boxes[0], 2), (OBJECT, layout.ramps[0], 3)]
        for names, where, body in parts:
            part = dict(zip(names, np.moveaxis(observed[..., where], -1, 0), strict=True))
            seen = state.visible[..., agent, body]
            np.testing.assert_array_equal(part["visible"], seen)
            for name_of_feature, values in part.items():
                assert not values[~seen].any(), name_of_feature
            np.testing.assert_allclose(part["y"][seen], state.bodies.y[..., body][seen])
            if names is OBJECT:
                locked, locker = state.locked[..., body - 2], state.locker[..., body - 2]
                np.testing.assert_array_equal(part["locked"][seen], locked[seen])
                np.testing.assert_array_equal(part["you_locked"][seen], (locked & (locker == agent))[seen])
    seen = timesteps.state.visible
    assert 0.05 < seen[..., 0, 1:].mean() < 0.95


@pytest.mark.slow
def test_entities_are_the_same_numbers_in_rows():
    """Agent by agent and kind by kind; who is not visible is a row of zeros."""
    listing = tegu.make("hide-and-seek-quadrant", boxes=1, entities=True)
    flat = jax.device_get(jax.jit(jax.vmap(QUADRANT.reset))(jax.random.split(jax.random.key(0), 20))[1])
    listed = jax.vmap(listing._observed)(jnp.stack([flat[name] for name in QUADRANT.agents], axis=1))
    state, first = jax.eval_shape(listing.reset, jax.random.key(0))
    later = jax.eval_shape(listing.step, state, zeros(listing.action_space), jax.random.key(0)).observation
    assert first == later == jax.eval_shape(lambda tree: jax.tree.map(lambda leaf: leaf[0], tree), listed)
    layout = QUADRANT.layout
    for name in QUADRANT.agents:
        parts = {key: np.asarray(part) for key, part in listed[name].items()}
        one = {key: part[0] for key, part in parts.items()}
        assert listing.observation_space[name].contains(one)
        assert {key: part.shape[1:] for key, part in parts.items()} == {
            **{"self": (len(SELF),), "lidar": (30,), "agents": (3, len(OTHER))},
            **{"boxes": (1, len(OBJECT)), "ramps": (1, len(OBJECT))},
        }
        np.testing.assert_array_equal(parts["self"], flat[name][:, layout.own])
        np.testing.assert_array_equal(parts["lidar"], flat[name][:, layout.lidar])
        for key, slices in (("agents", layout.others), ("boxes", layout.boxes), ("ramps", layout.ramps)):
            for row, where in enumerate(slices):
                np.testing.assert_array_equal(parts[key][:, row], flat[name][:, where])
    seen = np.asarray(listed["hider_0"]["agents"])
    np.testing.assert_array_equal(seen.any(axis=-1), seen[..., OTHER.index("visible")] == 1)
    assert 0 < seen[..., -1].mean() < 1
    without = tegu.make("hide-and-seek-tiny", entities=True, ramps=0, n_lidar=0).observation_space["hider_0"]
    assert set(without) == {"self", "agents", "boxes"}


@pytest.mark.slow
def test_quadrant_and_options_are_as_declared():
    world = tegu.make("hide-and-seek-quadrant")
    assert world.agents == ("hider_0", "hider_1", "seeker_0", "seeker_1")
    assert world.teams == {"hiders": ("hider_0", "hider_1"), "seekers": ("seeker_0", "seeker_1")}
    assert world.max_episode_steps == 80
    assert world.action_space["seeker_1"].nvec.tolist() == [11, 11, 11, 2, 2]
    assert tegu.make("hide-and-seek-tiny", horizon=30).max_episode_steps == 30
    for wrong in ({"n_buckets": 4}, {"hiders": 0}, {"prep_fraction": 1.0}, {"room_left": 3.9}, {"entities": 1}):
        with pytest.raises(tegu.TeguError):
            tegu.make("hide-and-seek-tiny", **wrong)
    state = jax.device_get(jax.jit(jax.vmap(lambda key: world.reset(key)[0]))(jax.random.split(jax.random.key(0), 500)))
    x, y = state.bodies.x, state.bodies.y
    inside = (x > 3) & (y < 3)
    assert inside[:, 4:6].all()  # boxes
    assert not inside[:, 2:4].any()  # seekers
    assert 0.1 < inside[:, :2].mean() < 0.4
    lengths = 2 * np.stack([state.walls.half_y[:, 4:6].sum(axis=1), state.walls.half_x[:, 6:].sum(axis=1)])
    doors = np.array([3.55, 3.55])[:, None] - lengths
    assert set(np.round(doors.ravel(), 3)) == {0.0, 0.4}
    assert 0.4 < ((doors > 0.2).sum(axis=0) == 1).mean() < 0.6
    assert ((doors > 0.2).sum(axis=0) >= 1).all()


@pytest.mark.long
def test_the_check_finds_nothing_wrong():
    assert not check_jax(TINY, steps=70, seed=0).findings


@pytest.mark.slow
@pytest.mark.parametrize("world", [TINY, QUADRANT], ids=lambda world: world.id)
def test_a_picture_of_hide_and_seek_shows_the_state(world):
    pytest.importorskip("PIL")
    state = jax.device_get(jax.jit(world.reset)(jax.random.key(0))[0])
    picture = world.image(state)
    assert picture.shape == (500, 500, 3)
    assert picture.dtype == np.uint8
    others = [
        state._replace(bodies=state.bodies._replace(x=state.bodies.x + np.float32(0.1))),
        state._replace(z=state.z + np.float32(0.5)),
        state._replace(locked=~state.locked),
        state._replace(locked=~state.locked, locker=np.full_like(state.locker, world.hiders)),
        state._replace(holds=~state.holds),
    ]
    pictures = [picture, *(world.image(other) for other in others)]
    assert len({one.tobytes() for one in pictures}) == len(pictures)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ippo", "mappo"])
def test_entities_are_attended_to(name):
    """The preset's standardisation, which would hide who is absent, is left out with a warning."""
    given = {"features_extractor": "attention", "net_arch": [8], "n_steps": 8, "batch_size": 16}
    with pytest.warns(UserWarning, match="^normalize_observation is off: attention knows absent entities by their"):
        plan = make_plan("hide-and-seek-tiny", name, environment_options={"entities": True}, **given)
    spec = spec_at(plan.source, plan.n_envs)
    title = describe(plan.algorithm.networks(eqx.filter_eval_shape(plan.algorithm.init, jax.random.key(0), spec)))
    own, mlp, kinds = "23+1x11+1x14+1x14", "MLP 256-8-19, tanh", "1x11+1x14+1x14"
    expected = {
        "ippo": f"2 x entity attention {own}; 2 x actor {mlp}; 2 x critic MLP 256-8-1, tanh; ",
        "mappo": f"2 x actor entity attention {own}, {mlp}; 2 x critic entity attention 69+{kinds}+{kinds}+{kinds}, ",
    }
    assert title.startswith(expected[name])


@pytest.mark.long
def test_several_agents_learn_it():
    """IPPO takes the five choices of an action as they are."""
    agent = tegu.train("hide-and-seek-tiny", tegu.IPPO(n_steps=8, batch_size=16), steps=64, n_envs=4)
    action, _ = agent.predict(zeros(TINY.observation_space))
    assert TINY.action_space.contains(action)


@pytest.mark.long
@pytest.mark.parametrize("name", ["ippo", "mappo"])
def test_several_agents_are_trained_on_entities(name):
    options, given = {"entities": True}, {"n_steps": 8, "batch_size": 16, "normalize_observation": False}
    agent = tegu.train(
        "hide-and-seek-tiny",
        name,
        steps=64,
        n_envs=4,
        folder=None,
        features_extractor="attention:32",
        environment_options=options,
        **given,
    )
    world = tegu.make("hide-and-seek-tiny", **options)
    action, _ = agent.predict(zeros(world.observation_space))
    assert world.action_space.contains(action)
