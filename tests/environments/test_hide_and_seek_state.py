"""The global state of hide-and-seek: all that there is, which MAPPO's critics see and its actors do not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tegu
from tegu.check.jax_environments import check_jax
from tegu.environments.hide_and_seek.observation import STATE_AGENT, STATE_OBJECT
from tegu.environments.hide_and_seek.world import batch_last
from tegu.spaces.features import features, zeros
from tegu.training.plan import spec_of

KEY = jax.random.key(0)
LISTED = tegu.make("hide-and-seek-quadrant", entities=True, global_state=True)  # two hiders, two seekers, three objects
SMALL = {"net_arch": (8,), "n_steps": 8, "batch_size": 8, "sequence_length": 4, "hidden_size": 4}


@pytest.fixture(scope="module")
def played():
    """Seven games after a step in which everybody pushes, with objects that both teams have locked."""
    keys = jax.random.split(KEY, 7)
    action = {name: jnp.tile(jnp.array([10, 10, 7, 1, 1]), (7, 1)) for name in LISTED.agents}
    state, first = jax.jit(jax.vmap(LISTED.reset))(keys)
    timestep = jax.jit(jax.vmap(LISTED.step))(state, action, keys)
    return jax.device_get((state, first, timestep))


def by_hand(state, game):
    """What there is in one game, number by number, in float64."""
    bodies = [np.float64(part[game]) for part in state.bodies]
    rows = {"agents": [], "boxes": [], "ramps": []}
    for i, (x, y, yaw, vx, vy, spin) in enumerate(zip(*bodies, strict=True)):
        row = {"x": x, "y": y, "cos": np.cos(yaw), "sin": np.sin(yaw), "vx": vx, "vy": vy, "spin": spin}
        if i < 4:
            row |= {"z": state.z[game, i], "vz": state.vz[game, i], "is_hider": i < 2}
            rows["agents"].append([row[name] for name in STATE_AGENT])
            continue
        locked, locker = state.locked[game, i - 4], state.locker[game, i - 4]
        row |= {"length": 0.5, "width": 0.5, "height": 0.5}
        row |= {"hiders_locked": locked and locker < 2, "seekers_locked": locked and locker >= 2}
        rows["boxes" if i < 6 else "ramps"].append([row[name] for name in STATE_OBJECT])
    return rows


@pytest.mark.slow
def test_the_global_state_holds_all_that_there_is_whoever_sees_it(played):
    """Agents, boxes and ramps, each once; also those whom nobody sees."""
    begun, first, timestep = played
    for state, seen in ((begun, first["state"]), (timestep.state, timestep.observation["state"])):
        for game in range(7):
            for kind, rows in by_hand(state, game).items():
                np.testing.assert_allclose(seen[kind][game], rows, rtol=1e-5, atol=1e-6, err_msg=kind)
    assert not timestep.state.visible[..., 4:].any(axis=1).all()
    assert timestep.state.bodies.vx.any()


@pytest.mark.slow
@pytest.mark.parametrize("locker", range(4))
def test_the_global_state_says_which_team_has_locked_what(played, locker):
    state = jax.tree.map(lambda leaf: leaf[:1], played[0])
    state = state._replace(locked=np.array([[True, False, True]]), locker=np.array([[locker, locker, 3 - locker]]))
    seen = LISTED._beside(jax.tree.map(lambda leaf: leaf[0], state))["state"]
    rows = np.concatenate([seen["boxes"], seen["ramps"]])
    expected = by_hand(state, 0)
    np.testing.assert_allclose(rows, expected["boxes"] + expected["ramps"], rtol=1e-5)
    assert rows[:, -2:].tolist() == [[locker < 2, locker >= 2], [0, 0], [locker >= 2, locker < 2]]


@pytest.mark.slow
def test_without_entities_the_global_state_is_the_same_numbers_as_one_vector(played):
    flat = tegu.make("hide-and-seek-quadrant", global_state=True)
    state, first, _ = jax.tree.map(lambda leaf: leaf[3], played)
    expected = features(LISTED.observation_space["state"], first["state"])
    np.testing.assert_array_equal(flat._beside(state)["state"], expected)
    assert flat.observation_space["state"].shape == (4 * len(STATE_AGENT) + 3 * len(STATE_OBJECT),)


@pytest.mark.parametrize("options", [{}, {"entities": True}, {"entities": True, "ramps": 0}])
def test_spaces_with_a_global_state_are_as_declared(options):
    """It is there only if asked for, and what agents observe is the same with it."""
    with_it = tegu.make("hide-and-seek-tiny", global_state=True, **options)
    without = tegu.make("hide-and-seek-tiny", **options)
    space = with_it.observation_space
    assert {name: space[name] for name in without.agents} == dict(without.observation_space)
    assert set(space) - set(without.observation_space) == {"state"}
    state, first = jax.eval_shape(with_it.reset, KEY)
    later = jax.eval_shape(with_it.step, state, zeros(with_it.action_space), KEY).observation
    assert first == later == jax.eval_shape(lambda: jax.tree.map(jnp.asarray, zeros(space)))
    with pytest.raises(tegu.TeguError, match="hide-and-seek-tiny: global_state must be true or false, got 1"):
        tegu.make("hide-and-seek-tiny", global_state=1)


def hidden_pair(world):
    """Two games as they are observed ``[1, ...]``, in which the hider does not see that the seeker moves otherwise."""
    begun = (jax.jit(world.reset)(jax.random.key(seed))[0] for seed in range(20))
    state, pair = next(state for state in begun if not state.visible[0, 1]), []
    for speed in (0.0, 3.0):
        state = state._replace(bodies=state.bodies._replace(vx=state.bodies.vx.at[1].set(speed)))
        state, seen = batch_last(world._look)(state)
        pair.append(jax.tree.map(lambda leaf: leaf[None], world._observed(seen) | world._beside(state)))
    return pair


@pytest.mark.slow
@pytest.mark.parametrize("recurrent", ["none", "lstm"])
@pytest.mark.parametrize("entities", [False, True])
def test_what_is_hidden_counts_for_the_critic_and_never_for_the_actor(entities, recurrent):
    world = tegu.make("hide-and-seek-tiny", entities=entities, global_state=True)
    extractor = "attention" if entities else "auto"
    algorithm = tegu.MAPPO(**SMALL, features_extractor=extractor, recurrent=recurrent)
    algorithm.validate(spec := spec_of("tiny", world, 1))
    learner = jax.jit(lambda: algorithm.init(KEY, spec))()
    one, other = hidden_pair(world)
    jax.tree.map(np.testing.assert_array_equal, one["hider_0"], other["hider_0"])
    act = jax.jit(
        lambda seen, explore: algorithm.act(learner, seen, algorithm.begin(learner, KEY, 1), KEY, explore=explore),
        static_argnums=1,
    )
    network = learner.policies[("hider_0",)].network

    def value(seen, decision):
        if recurrent == "none":
            return network(features(network.spaces.observation, algorithm.view(seen, "hider_0")))[1]
        return network.of_memory(decision.memory["hider_0"])[1]

    for explore in (True, False):
        decided, otherwise = act(one, explore), act(other, explore)
        np.testing.assert_array_equal(decided.action["hider_0"], otherwise.action["hider_0"])
        if recurrent == "none":
            np.testing.assert_array_equal(decided.extras["hider_0"], otherwise.extras["hider_0"])
        else:
            np.testing.assert_array_equal(decided.extras["hider_0"].log_prob, otherwise.extras["hider_0"].log_prob)
            jax.tree.map(
                np.testing.assert_array_equal, decided.memory["hider_0"].actor, otherwise.memory["hider_0"].actor
            )
    assert abs(float(value(one, decided)[0] - value(other, otherwise)[0])) > 1e-6


@pytest.mark.slow
def test_a_shared_critic_knows_whose_value_it_is(played):
    """Two hiders in one state, by one network: what each is worth follows from its own features."""
    algorithm = tegu.MAPPO(**SMALL, features_extractor="attention", share_parameters=True)
    learner = jax.jit(lambda: algorithm.init(KEY, spec_of("quadrant", LISTED, 7)))()
    (policy,) = learner.policies.values()
    views = (algorithm.view(played[1], name) for name in LISTED.agents)
    values = [policy.network(features(policy.network.spaces.observation, view))[1] for view in views]
    assert np.abs(np.diff(values, axis=0)).min() > 1e-4


@pytest.mark.long
@pytest.mark.parametrize("options", [{}, {"entities": True}])
def test_the_check_finds_nothing_wrong_with_a_global_state(options):
    world = tegu.make("hide-and-seek-tiny", global_state=True, **options)
    assert not check_jax(world, steps=70, seed=0).findings


@pytest.mark.long
def test_mappo_is_trained_on_the_global_state(tmp_path):
    """Also from memory; what was learned is saved, and acts after loading as before."""
    options, given = {"entities": True, "global_state": True}, {"features_extractor": "attention+lidar:16"}
    given |= {"recurrent": "gru", "hidden_size": 8, "sequence_length": 4, "n_steps": 8, "batch_size": 16}
    with pytest.warns(UserWarning, match="^normalize_observation is off"):
        agent = tegu.train(
            "hide-and-seek-tiny", "mappo", steps=64, n_envs=4, folder=None, environment_options=options, **given
        )
    agent.save(tmp_path / "agent")
    world = tegu.make("hide-and-seek-tiny", **options)
    _, observation = world.reset(KEY)
    actions = [each.predict(observation)[0] for each in (agent, tegu.load(tmp_path / "agent"))]
    assert world.action_space.contains(actions[0])
    jax.tree.map(np.testing.assert_array_equal, *actions)
    assert np.isfinite(agent.evaluate(4).mean)
