"""PettingZoo's environments through the adapter: real ones, and small ones whose every number is known."""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from gymnasium import spaces

pytest.importorskip("mpe2")

from parallel_worlds import Leavers, Nameless, Rounds, Talkative, Turns
from pettingzoo import ParallelEnv
from run_contents import assert_same, everything

import tegu
from tegu.core.step import episode_ended
from tegu.environments.adapters.gymnasium import GymnasiumEnvironments
from tegu.environments.adapters.pettingzoo import ParallelEnvironment
from tegu.environments.make import find
from tegu.environments.native import NATIVE
from tegu.sb3 import PPO, DummyVecEnv

# Importing an environment's module instead of naming it in PettingZoo's registry is deprecated in PettingZoo 1.27.
pytestmark = pytest.mark.filterwarnings("ignore:The old environment creation API:DeprecationWarning")

WORLDS = [name for name, path in NATIVE.items() if ".particle." in path]
SMALL: dict[str, Any] = {"learning_starts": 60, "train_freq": 20, "batch_size": 16, "buffer_size": 500}
SMALL_NETS = SMALL | {"net_arch": [8]}
ACTIONS = {"walker": 2, "clock": np.array([0.25, 0.5], np.float32), "picker": 1}


def played(environment: ParallelEnvironment, actions: Any = ACTIONS) -> list[Any]:
    """What every step of an episode gave."""
    environment.reset(seed=1)
    happened = []
    while not happened or not episode_ended(*happened[-1][2:4]):
        happened.append(environment.step(actions)[:4])
    return happened


# --- the small ones


def test_the_small_worlds_are_what_pettingzoo_asks_for() -> None:
    from pettingzoo.test import parallel_api_test

    parallel_api_test(Leavers(), num_cycles=20)


def test_agents_may_differ_in_everything() -> None:
    environment = ParallelEnvironment(Leavers())
    assert environment.possible_agents == ["walker", "clock", "picker"]
    for agent, (seen, done) in Leavers.spaces.items():
        assert (environment.observation_space[agent], environment.action_space[agent]) == (seen, done)
    observation, _ = environment.reset(seed=3)
    assert environment.observation_space.contains(observation)


@pytest.mark.parametrize("world", [Leavers, Talkative])
def test_who_has_left_stays_at_rest(world: type[Leavers]) -> None:
    """Zeros, no pay, terminated for ever, and no action passed on; the others go on."""
    environment = ParallelEnvironment(world())
    happened = played(environment)
    assert len(happened) == 5
    for t, (observation, reward, terminated, truncated) in enumerate(happened, 1):
        assert environment.observation_space.contains(observation)
        assert reward["walker"] == (t + 2 if t <= 2 else 0)
        assert reward["clock"] == (t + 0.75 if t <= 4 else 0)
        assert reward["picker"] == t + 1
        assert terminated == {"walker": t >= 2, "clock": t > 4, "picker": t == 5}
        assert truncated == {"walker": False, "clock": t == 4, "picker": False}
        assert observation["walker"][0] == (t if t <= 2 else 0)  # what it saw last is true; then zeros
        assert observation["clock"] == (t if t <= 4 else 0)
    assert [list(actions) for actions in environment.parallel.received] == [
        ["walker", "clock", "picker"],
        ["walker", "clock", "picker"],
        ["clock", "picker"],
        ["clock", "picker"],
        ["picker"],
    ]


def test_episodes_follow_each_other_and_keep_what_truly_came_last() -> None:
    environments = GymnasiumEnvironments(lambda: ParallelEnvironment(Leavers()), [(0, 0), (0, 1)])
    assert environments.agents == ("walker", "clock", "picker")
    first = environments.reset()
    assert first["walker"].shape == (2, 2)
    actions = {"walker": np.array([0, 1]), "clock": np.ones((2, 2), np.float32), "picker": np.array([0, 0])}
    steps = [environments.step(actions) for _ in range(5)]
    assert steps[0].reward["walker"].tolist() == [1, 2]
    assert all(reward.dtype == np.float32 for reward in steps[0].reward.values())
    assert [step.truncated["clock"].tolist() for step in steps] == [[False] * 2] * 3 + [[True] * 2] + [[False] * 2]
    last = steps[-1]
    assert last.next_observation["picker"]["place"].tolist() == [[5], [5]]  # the true last one
    assert last.observation["picker"]["place"].tolist() == [[0], [0]]  # of the episode that has begun
    assert environments.episodes == [1, 1]
    assert not np.array_equal(last.observation["walker"], first["walker"]), "every episode has a seed of its own"


def test_agents_in_turn_are_converted() -> None:
    """Through PettingZoo's own conversion, which hands out the list it then takes agents from."""
    environment = ParallelEnvironment(Rounds())
    happened = played(environment, {"a": 1, "b": 2})
    assert [reward for _, reward, *_ in happened] == [{"a": 3, "b": 3}, {"a": 3, "b": 3}, {"a": 1, "b": 0}]
    assert [terminated for *_, terminated, _ in happened] == [
        {"a": False, "b": False},
        {"a": False, "b": False},
        {"a": True, "b": True},
    ]
    assert [truncated["b"] for *_, truncated in happened] == [False, True, False]
    assert [observation["b"].item() for observation, *_ in happened] == [1, 2, 0]


def test_restored_environments_stand_where_they_stood() -> None:
    """From the seeds and the actions alone, in the middle of an episode that some have left."""

    def fresh() -> GymnasiumEnvironments:
        return GymnasiumEnvironments(lambda: ParallelEnvironment(Leavers()), [(7, 0), (7, 1)])

    def act(environments: GymnasiumEnvironments, t: int) -> Any:
        random = np.random.default_rng(t)
        walker, picker = random.integers(3, size=2), random.integers(2, size=2)
        clock = random.uniform(-1, 1, (2, 2)).astype(np.float32)
        return environments.step({"walker": walker, "clock": clock, "picker": picker})

    one, other = fresh(), fresh()
    one.reset()
    for t in range(8):
        now = act(one, t)
    found = other.restore(*one.snapshot(), observation=None)
    np.testing.assert_equal(found, now.observation)
    for t in range(8, 14):
        np.testing.assert_equal(act(other, t), act(one, t))


# --- real ones


@pytest.mark.parametrize("name", WORLDS)
@pytest.mark.parametrize("continuous", [False, True])
def test_our_worlds_and_pettingzoos_look_the_same_to_an_algorithm(name: str, continuous: bool) -> None:
    options = {"continuous_actions": continuous}
    ours, theirs = find(name, options=options).native, find(name, "pettingzoo", options).make()  # type: ignore[misc]
    assert ours is not None
    assert ours.agents == tuple(theirs.possible_agents)
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space


@pytest.mark.parametrize("name", ["mpe2:simple_tag_v3", "pettingzoo.classic:rps_v2"])
def test_real_environments_play_to_their_end(name: str) -> None:
    source = find(name)
    assert (source.id, source.backend) == (name, "pettingzoo")
    environment = source.make()  # type: ignore[misc]
    observation, _ = environment.reset(seed=0)
    again, _ = environment.reset(seed=0)
    np.testing.assert_equal(observation, again)
    environment.action_space.seed(0)
    done, steps = False, 0
    while not done:
        observation, reward, *flags, _ = environment.step(environment.action_space.sample())
        assert environment.observation_space.contains(observation)
        assert all(set(part) == set(environment.possible_agents) for part in (reward, *flags))
        done, steps = episode_ended(*flags), steps + 1
    assert 1 < steps < 200


@pytest.mark.parametrize(
    ("name", "backend", "options", "says"),
    [
        ("mpe2:simple_tagg_v3", None, {}, "mpe2 has no simple_tagg_v3, did you mean simple_tag_v3?"),
        (
            "simple_tagg_v3",
            "pettingzoo",
            {},
            "simple_tagg_v3 is none of PettingZoo's particle environments; did you mean simple_tag_v3",
        ),
        (
            "waterworld_v4",
            "pettingzoo",
            {},
            "(others are named with their package, such as pettingzoo.sisl:waterworld_v4)",
        ),
        ("CartPole-v1", "pettingzoo", {}, "CartPole-v1 is none of PettingZoo's particle environments"),
        ("simple_tag_v3", "gymnasium", {}, "Gymnasium has no simple_tag_v3; only Tegu has it, in JAX"),
        ("simple_tag_v3", "pettingzoo", {"speed": 3}, "unexpected keyword argument 'speed'"),
        ("mpe2:simple_tag_v3", None, {"speed": 3}, "unexpected keyword argument 'speed'"),
        ("pettingzoo.classic:tictactoe_v3", None, {}, "in tictactoe_v3 agents act one after the other"),
        ("pettingzoo.classic:rps_v1", None, {}, "cannot make pettingzoo.classic:rps_v1"),
        ("parallel_worlds:Turns", None, {}, "in turns agents act one after the other"),
        ("parallel_worlds:Nameless", None, {}, "must name all agents there can ever be in possible_agents"),
        ("parallel_worlds:np", None, {}, "parallel_worlds:np"),
    ],
)
def test_what_cannot_be_had_is_said_in_one_line(name: str, backend: str | None, options: Any, says: str) -> None:
    with pytest.raises(tegu.TeguError) as caught:
        tegu.make(name, backend, **options)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("environment", [Turns(), Nameless()], ids=str)
def test_objects_that_cannot_be_had_either(environment: Any) -> None:
    with pytest.raises(tegu.TeguError, match="agents"):
        tegu.train(environment, "maddpg", folder=None)


@pytest.mark.parametrize(
    "environment",
    ["simple_tag_v3", "mpe2:simple_tag_v3", "tic-tac-toe", Leavers(), ParallelEnvironment(Leavers())],
    ids=str,
)
def test_stable_baselines3s_face_trains_one_agent_alone(environment: Any) -> None:
    with pytest.raises(tegu.TeguError, match=r"tegu\.sb3 trains a single agent, .+ has \d \(.*\): use tegu\.train"):
        PPO("MultiInputPolicy", environment)


def test_stable_baselines3s_vectors_neither() -> None:
    with pytest.raises(tegu.TeguError, match="has 3"):
        PPO("MultiInputPolicy", DummyVecEnv([lambda: ParallelEnvironment(Leavers())]))


# --- training


@pytest.mark.parametrize(
    "environment",
    [
        pytest.param(Leavers(), id="object", marks=pytest.mark.long),
        pytest.param(Leavers, id="class"),
        pytest.param(lambda: Rounds(), id="function", marks=pytest.mark.long),
    ],
)
def test_objects_and_what_makes_them_can_be_trained_on(environment: Any) -> None:
    agent = tegu.train(environment, "maddpg", steps=200, folder=None, **SMALL_NETS)
    assert agent.steps == 200
    assert agent.source is not None
    assert agent.source.backend == "pettingzoo"
    played = agent.evaluate(8)
    assert played.returns.shape == (1, 8)
    assert set(played.lengths.ravel()) == ({3} if agent.spec.agents == ("a", "b") else {5})
    np.testing.assert_allclose(played.returns, np.mean(list(played.agents.values()), axis=0))


@pytest.mark.long
def test_proximal_policies_learn_with_agents_that_leave() -> None:
    """IPPO on agents of three kinds: each is paid for its largest choice, which at least two of three seeds find."""
    settings = {"n_envs": 4, "n_steps": 25, "batch_size": 50, "learning_rate": 0.01, "net_arch": [16]}
    agent = tegu.train(Leavers, "ippo", steps=12_000, seeds=3, folder=None, **settings)
    found = {name: np.sort(returns.mean(axis=1))[1:] for name, returns in agent.evaluate(5).agents.items()}
    assert (found["clock"] > 10 + 4 * 1.5).all()  # of 2 at most; untrained 11 to 12, trained 18 (nine seeds each)
    assert (found["walker"] > 6).all()  # of 3 + 2 * 2; untrained 5 to 7, trained 6.2 once and 7
    assert (found["picker"] > 15 + 1).all()  # of 17, which many find untrained: at even times one action is legal


@pytest.mark.long
def test_a_stopped_run_goes_on_as_if_it_had_never_stopped(tmp_path: Path) -> None:
    """To the bit; as a name that is code it has to be given once more."""
    settings = SMALL_NETS | {"steps": 240, "n_envs": 2, "seeds": 2, "log_interval": 40, "seed": 3}
    whole = tegu.train("parallel_worlds:Leavers", "maddpg", folder=tmp_path / "whole", **settings)
    half = tegu.train(
        "parallel_worlds:Leavers",
        "maddpg",
        folder=tmp_path / "half",
        callbacks=(lambda progress: progress.steps < 120,),
        **settings,
    )
    assert half.steps == 140  # a chunk also ends where the warm-up does, after 60
    with pytest.raises(tegu.TeguError, match="--env parallel_worlds:Leavers"):
        tegu.resume(half.run)
    resumed = tegu.resume(half.run, environment="parallel_worlds:Leavers")
    assert whole.run is not None
    assert resumed.run is not None
    assert_same(everything(resumed.run), everything(whole.run))


# Agents that come and go in other ways


class Timetable(ParallelEnv):
    """Agents that are there from one step to another, 1 for each step; ``told``: whether flags say so."""

    metadata: ClassVar = {"name": "timetable_v0"}

    def __init__(self, there: dict[str, tuple[int, int]], *, told: bool = True):
        self.there, self.told, self.possible_agents = there, told, list(there)

    def observation_space(self, agent: str) -> spaces.Space:
        return spaces.Box(0, 99, (1,))

    def action_space(self, agent: str) -> spaces.Space:
        return spaces.Discrete(2)

    def _now(self) -> list[str]:
        return [agent for agent, (first, last) in self.there.items() if first <= self.t < last]

    def reset(self, seed=None, options=None):
        self.t = 0
        self.agents = self._now()
        return {agent: np.float32([1]) for agent in self.agents}, {}

    def step(self, actions):
        self.t += 1
        here, self.agents = self.agents, self._now()
        ended = {agent: self.told and agent not in self.agents for agent in here}
        seen = {agent: np.float32([1 + self.t]) for agent in {*here, *self.agents}}
        return seen, dict.fromkeys(here, 1.0), ended, dict.fromkeys(here, False), {}


def stepped(world: Any, n: int) -> list[Any]:
    environment = ParallelEnvironment(world)
    environment.reset()
    return [environment.step(dict.fromkeys(world.possible_agents, 0)) for _ in range(n)]


def test_an_agent_that_arrives_as_the_last_one_leaves_goes_on() -> None:
    first, second, third = stepped(Timetable({"a": (0, 2), "b": (2, 3)}), 3)
    assert (first[2], first[3]) == ({"a": False, "b": True}, {"a": False, "b": False})
    assert second[2] == {"a": True, "b": False}, "the episode is not over"
    assert second[0]["b"] == 3
    assert (third[1], third[2]) == ({"a": 0, "b": 1}, {"a": True, "b": True})


def test_who_leaves_without_a_word_is_cut() -> None:
    first, second = stepped(Timetable({"a": (0, 1), "b": (0, 2)}, told=False), 2)
    assert (first[2], first[3]) == ({"a": False, "b": False}, {"a": True, "b": False})
    assert (second[2], second[3]) == ({"a": True, "b": False}, {"a": False, "b": True})


def test_who_has_ended_is_at_rest_though_still_listed() -> None:
    class Listed(Timetable):
        def step(self, actions):
            assert "a" not in actions or self.t < 2
            returned = super().step(actions)
            self.agents = list(self.there)
            everybody = dict.fromkeys(self.there, 1.0)
            ended = {agent: self.t >= last for agent, (_, last) in self.there.items()}
            return (
                {a: np.float32([1]) for a in self.there},
                everybody,
                ended,
                dict.fromkeys(self.there, False),
                returned[-1],
            )

    steps = stepped(Listed({"a": (0, 2), "b": (0, 4)}), 4)
    assert [reward["a"] for _, reward, *_ in steps] == [1, 1, 0, 0]
    assert [terminated["a"] for _, _, terminated, *_ in steps] == [False, True, True, True]
    assert steps[-1][2] == {"a": True, "b": True}


def test_what_is_missing_of_those_who_acted_is_named() -> None:
    class OnlyLive(Timetable):
        def step(self, actions):
            return tuple({a: v for a, v in part.items() if a in self.agents} for part in super().step(actions))

    with pytest.raises(tegu.TeguError, match=r"must return observation of each agent that acts, in a dict: 'a' lacks"):
        stepped(OnlyLive({"a": (0, 1), "b": (0, 2)}), 1)

    class OldReset(Timetable):
        def reset(self, seed=None, options=None):
            return super().reset()[0]

    with pytest.raises(
        tegu.TeguError, match=r"reset\(\) of the environment must return \(observation, info\), got a dict"
    ):
        stepped(OldReset({"a": (0, 1)}), 1)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"possible_agents": ["a", "a"]}, "must name each agent once in possible_agents"),
        ({"possible_agents": ["a\x1b[2J", "b"]}, "as printable text"),
        ({"observation_space": spaces.Discrete(2)}, r"observation_space\('a'\) of .* must return a space"),
        ({"action_space": lambda agent: None}, r"action_space\('a'\) of .* must return a space"),
        ({"reset": lambda: ({}, {})}, "must take a seed"),
    ],
)
def test_what_is_declared_is_looked_at_before_the_first_episode(changes: dict[str, Any], says: str) -> None:
    world = Timetable({"a": (0, 2), "b": (0, 2)})
    vars(world).update(changes)
    with pytest.raises(tegu.TeguError, match=says) as caught:
        ParallelEnvironment(world)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("place", "given", "got"),
    [
        (0, np.zeros(1), "observation .*: got ndarray"),
        (1, 1.0, "reward .*: got float"),
        (2, False, "terminated .*: got bool"),
    ],
)
def test_what_is_given_is_given_by_agent(place: int, given: Any, got: str) -> None:
    class Bare(Timetable):
        def step(self, actions):
            returned = list(super().step(actions))
            returned[place] = given
            return tuple(returned)

    with pytest.raises(tegu.TeguError, match=rf"step\(\) of the environment must return {got}"):
        stepped(Bare({"a": (0, 2)}), 1)


@pytest.mark.parametrize("agents", [None, "ab"])
def test_agents_are_a_list(agents: Any) -> None:
    class Odd(Timetable):
        def reset(self, seed=None, options=None):
            returned = super().reset()
            self.agents = agents
            return returned

    with pytest.raises(tegu.TeguError, match="agents of the environment must be a list of who acts next, got "):
        ParallelEnvironment(Odd({"a": (0, 2)})).reset()


def test_who_begins_or_arrives_observes() -> None:
    class Blind(Timetable):
        def reset(self, seed=None, options=None):
            return self.without(super().reset())

        def step(self, actions):
            return self.without(super().step(actions))

        def without(self, returned):
            return ({name: seen for name, seen in returned[0].items() if name != "b"}, *returned[1:])

    with pytest.raises(tegu.TeguError, match=r"reset\(\) .* must return observation of each .*: 'b' lacks"):
        ParallelEnvironment(Blind({"a": (0, 2), "b": (0, 2)})).reset()
    with pytest.raises(tegu.TeguError, match=r"step\(\) .* must return observation of each .*: 'b' lacks"):
        stepped(Blind({"a": (0, 3), "b": (1, 3)}), 1)


def test_nobody_to_act_and_a_stranger_are_named() -> None:
    with pytest.raises(tegu.TeguError, match="nobody is in agents, expected who acts"):
        ParallelEnvironment(Timetable({"a": (1, 2)})).reset()
    world = ParallelEnvironment(Timetable({"a": (0, 2)}))
    world.reset()
    world.parallel.agents.append("stranger")
    with pytest.raises(tegu.TeguError, match="agents of the environment holds 'stranger', which possible_agents"):
        world.step({"a": 0})
