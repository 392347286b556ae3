"""MinAtar's games beside those of the package, which ``record_minatar.py`` recorded step by step."""

import operator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from record_minatar import FILE, HARD, HIDDEN, OF_STEPS, SCATTERED, new_game, packed, record

import tegu
from tegu.core.errors import TeguError
from tegu.environments.minatar.asterix import Asterix
from tegu.environments.minatar.base import LEFT, NONE, RIGHT, State
from tegu.environments.minatar.breakout import Breakout
from tegu.environments.minatar.freeway import Freeway
from tegu.environments.minatar.seaquest import Seaquest
from tegu.environments.minatar.space_invaders import SpaceInvaders
from tegu.spaces.features import features

GAMES = {
    "asterix": Asterix(),
    "breakout": Breakout(),
    "freeway": Freeway(),
    "seaquest": Seaquest(),
    "space_invaders": SpaceInvaders(),
}
RAMPING = ("asterix", "seaquest", "space_invaders")


@jax.jit
def replay(environment, begins, hard, first_draws, draws, action):
    """Episodes with given random numbers, ``[T]``: the observations with which they begin, and the timesteps."""

    def advance(state, inputs):
        begins, hard, first_draws, draws, action = inputs
        first = environment.begin(first_draws)
        if isinstance(environment, Seaquest):
            spawn, move, ramps = HARD.values()
            harder = first._replace(spawn_interval=spawn, move_interval=move, ramps=ramps)
            first = jax.tree.map(lambda new, old: jnp.where(hard, new, old), harder, first)
        fresh = State(first, jnp.int32(NONE))
        state = jax.tree.map(lambda new, old: jnp.where(begins, new, old), fresh, state)
        timestep = environment.step_for(state, action, draws)
        return timestep.state, (environment.observe(first), timestep)

    state, _ = environment.reset(jax.random.key(0))
    return jax.lax.scan(advance, state, (begins, hard, first_draws, draws, action))[1]


class Recording:
    """The package's episodes of one game, ``E`` of them with ``T`` steps in all."""

    def __init__(self, name, file):
        self.name = name
        self.arrays = {key.removeprefix(f"{name}/"): file[key] for key in file if key.startswith(f"{name}/")}
        length = self.arrays["length"]
        self.starts = np.cumsum(length) - length
        self.episode = np.repeat(np.arange(len(length)), length)

    def inputs(self):
        begins = np.isin(np.arange(len(self.episode)), self.starts)
        hard, first_draws = (self.arrays[name][self.episode] for name in ("hard", "first_draws"))
        return begins, hard > 0, first_draws, self.arrays["draws"], self.arrays["action"]


@pytest.fixture(scope="module")
def recordings():
    with np.load(FILE) as file:
        return {name: Recording(name, file) for name in GAMES}


@pytest.fixture(scope="module")
def replays(recordings):
    return {name: jax.device_get(replay(game, *recordings[name].inputs())) for name, game in GAMES.items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", GAMES)
def test_every_step_is_that_of_the_package(name, recordings, replays):
    theirs, (firsts, ours) = recordings[name].arrays, replays[name]
    assert len(theirs["action"]) == 5000
    np.testing.assert_array_equal(packed("first", firsts[recordings[name].starts]), theirs["first"])
    differing = np.flatnonzero((packed("observation", ours.observation) != theirs["observation"]).any(axis=1))
    assert not differing.size, f"the first of {differing.size} observations that differ is that of step {differing[0]}"
    np.testing.assert_array_equal(ours.reward, theirs["reward"])
    np.testing.assert_array_equal(ours.terminated, theirs["terminated"])
    assert not np.any(ours.truncated)


def test_the_recorded_games_reach_all_there_is(recordings, replays):
    games = {name: timesteps.state.game for name, (_, timesteps) in replays.items()}
    ended = {name: recording.arrays["terminated"] for name, recording in recordings.items()}
    reward = {name: recording.arrays["reward"] for name, recording in recordings.items()}

    asterix = games["asterix"]
    assert asterix.spawn_interval.min() == asterix.move_interval.min() == 1
    assert asterix.entities.present.all(axis=1).any()  # no row is free
    assert reward["asterix"].sum() > 100
    assert ended["asterix"].sum() > 5

    bricks = games["breakout"].bricks.sum(axis=(1, 2))
    assert (np.diff(bricks) == 30).any()
    assert ended["breakout"].sum() > 20

    assert ended["freeway"].any()
    assert reward["freeway"].sum() > 50

    seaquest = games["seaquest"]
    assert seaquest.rescued.min() < 0  # after six were brought up
    assert reward["seaquest"].max() > 1
    assert (seaquest.oxygen[ended["seaquest"] > 0] <= 0).any()
    assert seaquest.ramps.min() == 0
    assert seaquest.enemies.present.sum(axis=1).max() > 10
    assert seaquest.enemy_bullets.any()

    invaders = games["space_invaders"]
    assert invaders.alien_interval.min() == 6
    assert (invaders.aliens.sum(axis=(1, 2)) == 1).any()
    assert ended["space_invaders"].sum() > 5


@pytest.mark.parametrize("name", GAMES)
def test_the_package_does_what_was_recorded(name, recordings):
    pytest.importorskip("minatar")
    recording = recordings[name]
    theirs = recording.arrays
    for seed, (start, length) in enumerate(zip(recording.starts, theirs["length"], strict=True)):
        actions = theirs["action"][start : start + length].tolist()
        episode = record(*new_game(name, seed), actions, HARD if theirs["hard"][seed] else {})
        for key in OF_STEPS:
            np.testing.assert_array_equal(packed(key, episode[key]), theirs[key][start : start + length])


@pytest.mark.parametrize("name", SCATTERED)
def test_a_step_from_anywhere_is_that_of_the_package(name):
    """States in which all meets all, as it happens once in a thousand episodes."""
    environment = GAMES[name]
    with np.load(FILE) as file:
        theirs = {key.rpartition("/")[2]: file[key] for key in file if key.startswith(f"scattered/{name}/")}

    def field(path, leaf):
        return theirs["state." + ".".join(entry.name for entry in path)].astype(leaf.dtype)

    first = jax.eval_shape(environment.begin, jnp.zeros(environment.n_draws))
    game = jax.tree_util.tree_map_with_path(field, first)
    state = State(game, np.zeros(len(theirs["action"]), np.int32))
    ours = jax.jit(jax.vmap(environment.step_for))(state, theirs["action"].astype(np.int32), theirs["draws"])
    observations = packed("observation", np.asarray(ours.observation))
    differing = np.flatnonzero((observations != theirs["observation"]).any(axis=1))
    assert not differing.size, f"the first of {differing.size} observations that differ is that of state {differing[0]}"
    np.testing.assert_array_equal(ours.reward, theirs["reward"])
    np.testing.assert_array_equal(ours.terminated, theirs["terminated"])
    for field in HIDDEN[name]:
        np.testing.assert_array_equal(getattr(ours.state.game, field), theirs[f"after.{field}"])


@pytest.mark.parametrize("minimal", [False, True])
@pytest.mark.parametrize("name", GAMES)
def test_spaces_are_those_of_the_package(name, minimal):
    theirs = pytest.importorskip("minatar.gym").BaseEnv(name, use_minimal_action_set=minimal)
    ours = type(GAMES[name])(use_minimal_action_set=minimal)
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    assert list(ours.minimal_actions) == theirs.game.minimal_action_set()


@pytest.mark.parametrize("name", RAMPING)
def test_without_ramping_no_game_becomes_harder(name, recordings, replays):
    def intervals(timesteps):
        game = timesteps.state.game._asdict()
        return [value for field, value in game.items() if field.endswith("_interval")]

    easy = type(GAMES[name])(difficulty_ramping=False)
    begins, _, *rest = recordings[name].inputs()
    _, timesteps = replay(easy, begins, np.zeros_like(begins), *rest)
    assert all(len(np.unique(interval)) == 1 for interval in intervals(timesteps))
    assert all(len(np.unique(interval)) > 1 for interval in intervals(replays[name][1]))


def test_seaquest_has_room_for_all_enemies(recordings):
    """Submarines enter one lane with every step, as fast as they become; the player stays at the surface, unharmed.

    Each moves for the first time two steps after it has come and then with every third step, so it is there for 29.
    """
    begins, hard, first_draws, draws, action = map(np.zeros_like, recordings["seaquest"].inputs())
    begins[0] = hard[0] = True
    _, timesteps = replay(GAMES["seaquest"], begins, hard, first_draws, draws, action)
    assert not timesteps.terminated.any()
    assert (timesteps.state.game.enemies.present[60:].sum(axis=1) == 29).all()


def test_actions_stick():
    def paddles(environment, keys):
        state = environment.reset(keys[0])[0]._replace(last_action=jnp.int32(LEFT))
        timesteps = jax.vmap(lambda key: environment.step(state, jnp.int32(RIGHT), key))(keys)
        return timesteps.state.game.paddle - state.game.paddle, timesteps.state.last_action

    move, last_action = jax.jit(paddles)(Breakout(), jax.random.split(jax.random.key(0), 20_000))
    np.testing.assert_array_equal(last_action, np.where(move == 1, RIGHT, LEFT))
    assert abs((move == -1).mean() - 0.1) < 4 * np.sqrt(0.1 * 0.9 / 20_000)
    assert ((move == -1) | (move == 1)).all()


@pytest.mark.parametrize(
    ("name", "actions"),
    [
        ("MinAtar/Asterix-v1", "nlurd"),
        ("MinAtar/Breakout-v1", "nlr"),
        ("MinAtar/Freeway-v1", "nud"),
        ("MinAtar/Seaquest-v1", "nlurdf"),
        ("MinAtar/SpaceInvaders-v1", "nlrf"),
    ],
)
def test_minimal_actions(name, actions):
    minimal = tegu.make(name)
    assert minimal.action_space.n == len(actions)
    assert ["nlurdf"[action] for action in minimal.minimal_actions] == list(actions)
    assert tegu.make(name.replace("v1", "v0")).action_space.n == 6


def test_a_minimal_action_is_what_it_means():
    minimal, full = Breakout(use_minimal_action_set=True), Breakout()
    state, _ = full.reset(jax.random.key(0))
    for action, meaning in enumerate((NONE, LEFT, RIGHT)):
        ours = minimal.step_for(state, jnp.int32(action), jnp.array([0.5, 0.5]))
        np.testing.assert_array_equal(ours.state.last_action, meaning)
        np.testing.assert_array_equal(ours.state.game.paddle - state.game.paddle, (0, -1, 1)[action])


def test_observations_are_ones_and_zeros_to_a_network():
    environment = Breakout()
    _, observation = environment.reset(jax.random.key(0))
    assert observation.dtype == environment.observation_space.dtype == bool
    assert environment.observation_space.shape == (10, 10, 4)
    assert features(environment.observation_space, observation).sum() == 30 + 1 + 1 + 1


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"sticky_action_prob": -0.1}, "sticky_action_prob must be from 0 to 1, got -0.1"),
        ({"sticky_action_prob": 1.5}, "sticky_action_prob must be from 0 to 1, got 1.5"),
        ({"difficulty_ramping": "no"}, "difficulty_ramping must be True or False, got 'no'"),
        ({"use_minimal_action_set": 2}, "use_minimal_action_set must be True or False, got 2"),
    ],
)
def test_options_that_make_no_sense(options, says):
    with pytest.raises(TeguError, match=f"^MinAtar/Asterix-v0: {says}$"):
        tegu.make("MinAtar/Asterix-v0", **options)


def test_a_name_with_a_slip():
    with pytest.raises(TeguError, match="there is no environment MinAtar/Brekout-v0; did you mean MinAtar/Breakout-v0"):
        tegu.make("MinAtar/Brekout-v0")


def test_a_game_as_text():
    environment = Breakout()
    game = environment.begin(jnp.array([0.9]))._replace(y=jnp.int32(5), x=jnp.int32(2), trail=jnp.array([4, 1]))
    lines = environment.text(State(game, NONE)).splitlines()
    assert lines[0] == lines[11] == "+--------------------+"
    assert lines[1] == lines[7] == "|                    |"
    assert lines[2] == "|# # # # # # # # # # |"
    assert lines[5] == "|  .                 |"
    assert lines[6] == "|    o               |"
    assert lines[10] == "|        =           |"
    assert lines[12] == "= paddle   o ball   . trail   # brick"


@pytest.mark.parametrize("name", GAMES)
def test_a_picture_has_a_colour_for_each_channel(name, recordings, replays):
    """In the middle of a cell with one thing is the colour of its channel, and no other channel has it."""
    pytest.importorskip("PIL")
    observations, colours = replays[name][1].observation, {}
    lone = observations & (observations.sum(axis=-1, keepdims=True) == 1)
    for channel in range(lone.shape[-1]):
        if not lone[..., channel].any():
            continue
        step, row, column = np.argwhere(lone[..., channel])[0]
        picture = GAMES[name].image(jax.tree.map(operator.itemgetter(step), replays[name][1].state))
        colours[channel] = tuple(picture[10 + 48 * row + 24, 10 + 48 * column + 24])
    assert len(set(colours.values())) == len(colours) >= 3
