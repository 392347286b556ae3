"""What a person does with a trained agent."""

from pathlib import Path

import gymnasium
import numpy as np
import pytest

import tegu
from tegu.environments.grids.frozen_lake import FrozenLake
from tegu.runs import Run, checkpoint
from tegu.spaces.data import from_data, to_data

TINY = {"n_envs": 2, "n_steps": 16, "batch_size": 32, "n_epochs": 1, "net_arch": (8,), "steps": 64}


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> tegu.Agent:
    return tegu.train("CartPole-v1", "ppo", seeds=2, folder=tmp_path_factory.mktemp("runs"), **TINY)


def test_predict_takes_one_observation_or_many(agent: tegu.Agent) -> None:
    one, state = agent.predict([0.0, 0.1, 0.02, -0.1])
    many, _ = agent.predict(np.tile(np.float32([0.0, 0.1, 0.02, -0.1]), (5, 1)))
    assert state is None
    assert agent.spec.action_space.contains(int(one))
    assert many.tolist() == [int(one)] * 5


def test_predict_names_a_wrong_shape(agent: tegu.Agent) -> None:
    with pytest.raises(tegu.TeguError, match=r"expected an observation.*Box.*got shape \(3,\)"):
        agent.predict(np.zeros(3))


@pytest.mark.parametrize("episodes", [0, -1, 10**12])
def test_episodes_that_cannot_be(agent: tegu.Agent, episodes: int) -> None:
    with pytest.raises(tegu.TeguError, match=r"episodes must be at (least 1|most 1,000,000), got "):
        agent.evaluate(episodes)


def test_stochastic_prediction_samples(agent: tegu.Agent) -> None:
    drawn = {int(agent.predict(np.zeros(4), deterministic=False)[0]) for _ in range(50)}
    assert drawn == {0, 1}


def test_save_and_load_predict_the_same(agent: tegu.Agent, tmp_path: Path) -> None:
    agent.save(tmp_path / "saved")
    again = tegu.load(tmp_path / "saved")
    observations = np.random.default_rng(0).normal(size=(20, 4))
    for index in range(2):
        np.testing.assert_array_equal(
            again.predict(observations, index=index)[0], agent.predict(observations, index=index)[0]
        )
    np.testing.assert_array_equal(again.evaluate(5).returns, agent.evaluate(5).returns)


def test_loading_a_run_gives_its_agent(agent: tegu.Agent) -> None:
    assert agent.run is not None
    loaded = tegu.load(agent.run)
    assert (loaded.steps, loaded.seeds) == (agent.steps, agent.seeds)


def test_what_is_no_agent_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "model.zip").write_bytes(b"PK\x03\x04")
    for path in (tmp_path / "model.zip", tmp_path / "nothing"):
        with pytest.raises(tegu.TeguError) as caught:
            tegu.load(path)
        assert "\n" not in str(caught.value)


def test_a_learner_of_nan_is_refused(agent: tegu.Agent, tmp_path: Path) -> None:
    saved = checkpoint.load(next(agent.save(tmp_path / "good").iterdir()))
    blobs = {
        "learner": {
            name: array * np.float32(np.nan) if array.dtype.kind == "f" else array
            for name, array in saved.blobs["learner"].items()
        }
    }
    checkpoint.save(tmp_path / "bad", saved.step, blobs, saved.state)
    with pytest.raises(tegu.TeguError, match=r"holds a learner that is no good: .* is NaN or infinite$"):
        tegu.load(tmp_path / "bad")


def test_a_run_that_saved_nothing_has_no_checkpoint(tmp_path: Path) -> None:
    run = Run.create(tmp_path, "CartPole-v1", "ppo", {})
    run.set_status("failed", steps=0, total=10)
    with pytest.raises(tegu.TeguError, match=r"has no checkpoint: it was failed before one was saved$"):
        tegu.load(run)


def test_evaluation_is_repeatable_and_bounded(agent: tegu.Agent) -> None:
    """The same episodes every time; no longer than the time limit."""
    first, second = agent.evaluate(10), agent.evaluate(10)
    np.testing.assert_array_equal(first.returns, second.returns)
    assert first.returns.shape == (2, 10)
    assert first.lengths.max() <= 500
    np.testing.assert_array_equal(first.returns, first.lengths)  # CartPole pays 1 a step


@pytest.mark.slow
def test_evaluation_on_the_host_agrees_with_the_fused_one() -> None:
    """The same policy on Gymnasium's CartPole and on ours: equal means within four standard errors."""
    agent = tegu.train("CartPole-v1", "ppo", folder=None, seed=3, **(TINY | {"steps": 2_000}))
    ours = agent.evaluate(200)
    agent.source = tegu.environments.make.find("CartPole-v1", "gymnasium")
    theirs = agent.evaluate(200)
    error = np.hypot(ours.returns.std(), theirs.returns.std()) / np.sqrt(200)
    assert abs(ours.mean - theirs.mean) < 4 * error


@pytest.mark.parametrize(
    "space",
    [
        gymnasium.spaces.Box(-np.inf, np.inf, (3,)),
        gymnasium.spaces.Box(np.float32([-1, 0]), np.float32([1, 5])),
        gymnasium.spaces.Box(0, 255, (8, 8, 3), np.uint8),
        gymnasium.spaces.Discrete(5, start=-2),
        gymnasium.spaces.MultiDiscrete([3, 4]),
        gymnasium.spaces.MultiBinary(6),
        gymnasium.spaces.Dict(a=gymnasium.spaces.Discrete(2), b=gymnasium.spaces.Box(-1, 1, (2,))),
        gymnasium.spaces.Dict(
            {0: gymnasium.spaces.Discrete(2), 10: gymnasium.spaces.Dict({"0": gymnasium.spaces.Discrete(3)})}
        ),
    ],
    ids=str,
)
def test_spaces_survive_as_plain_data(space: gymnasium.Space) -> None:
    import json

    assert from_data(json.loads(json.dumps(to_data(space)))) == space


def test_a_dict_space_of_an_earlier_file_is_read() -> None:
    parts = {"speed": {"kind": "discrete", "n": 3, "start": 0}, "goal": {"kind": "multi-binary", "n": 2}}
    found = from_data({"kind": "dict", "spaces": parts})
    assert found == gymnasium.spaces.Dict(
        {"speed": gymnasium.spaces.Discrete(3), "goal": gymnasium.spaces.MultiBinary(2)}
    )


@pytest.mark.parametrize("data", [{}, {"kind": "object"}, {"kind": "box", "shape": "x"}, {"kind": "discrete", "n": -1}])
def test_damaged_spaces_are_refused(data: dict[str, object]) -> None:
    with pytest.raises(tegu.TeguError):
        from_data(data)


IDDPG = {"learning_starts": 100, "buffer_size": 200, "batch_size": 8, "net_arch": [4], "steps": 200}


@pytest.mark.slow
def test_a_saved_agent_knows_the_options_of_its_environment(tmp_path: Path) -> None:
    options = {"continuous_actions": True}
    agent = tegu.train("simple_v3", "iddpg", environment_options=options, folder=None, **IDDPG)
    agent.save(tmp_path / "saved")
    again = tegu.load(tmp_path / "saved")
    assert again.spec.action_space == agent.spec.action_space
    np.testing.assert_array_equal(again.evaluate(3).returns, agent.evaluate(3).returns)


@pytest.mark.slow
def test_a_saved_agent_does_not_play_where_it_does_not_fit(tmp_path: Path) -> None:
    """Of an object nobody knows how it was made: what has its name may be another task."""
    world = tegu.make("simple_v3", continuous_actions=True)
    agent = tegu.train(world, "iddpg", folder=None, **IDDPG)
    agent.save(tmp_path / "saved")
    with pytest.raises(tegu.TeguError, match="this agent has no environment"):
        tegu.load(tmp_path / "saved").evaluate(3)
    with pytest.raises(tegu.TeguError, match="simple_v3 does not have the observations and actions"):
        tegu.load(tmp_path / "saved", environment="simple_v3")
    assert tegu.load(tmp_path / "saved", environment=world).evaluate(3).returns.shape == (1, 3)


@pytest.mark.slow
def test_options_are_for_what_is_yet_to_be_made() -> None:
    agent = tegu.train(FrozenLake, "q-learning", environment_options={"map_name": "8x8"}, folder=None, steps=100)
    assert agent.spec.observation_space == gymnasium.spaces.Discrete(64)
    with pytest.raises(
        tegu.TeguError, match="FrozenLake-v1 is an instance already, so options have no effect: got is_slippery"
    ):
        tegu.train(FrozenLake(), environment_options={"is_slippery": False}, folder=None, steps=100)
