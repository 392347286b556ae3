"""Several seeds in environments of the host survive what one seed survives, and what happens to one costs no other."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import jax
import numpy as np
import pytest
from run_contents import assert_same, everything, half_way

import tegu
from tegu.runs import Run, checkpoint
from tegu.training.trainer import Progress

PPO = {"n_envs": 2, "n_steps": 16, "batch_size": 32, "n_epochs": 1, "net_arch": (8,)}
DQN = {"n_envs": 2, "learning_starts": 50, "buffer_size": 500, "batch_size": 8, "net_arch": (8,), "train_freq": 4}
COMMON = {"steps": 1_000, "log_interval": 200, "seeds": 3}
NEVER = np.inf


class Sensor(gymnasium.Env):
    """Random numbers that follow from the seed; pays the action."""

    observation_space = gymnasium.spaces.Box(-1, 1, (2,))
    action_space = gymnasium.spaces.Discrete(2)
    length = 50.0  #: of an episode
    short: int | None = None  #: the seed of an episode that ends after three steps
    lasts = NEVER  #: how many steps it takes until it fails for good

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t, self.seed = 0, seed
        return self._seen(), {}

    def step(self, action):
        end = 3 if self.seed == self.short else self.length
        assert self.t < end, "the episode is over"
        self.t += 1
        self.lasts -= 1
        if self.lasts < 0:
            raise RuntimeError("sensor gone")
        return self._seen(), float(action), False, self.t == end, {}

    def _seen(self):
        return self.np_random.uniform(-1, 1, 2).astype(np.float32)


class Maker:
    """Makes sensors. The last six that it has made are those that the three seeds are trained in, in turn."""

    def __init__(self) -> None:
        self.made: list[Sensor] = []

    def __call__(self) -> Sensor:
        self.made.append(Sensor())
        return self.made[-1]

    @property
    def one_of_the_second_seed(self) -> Sensor:
        return self.made[-3]


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(("ppo", PPO, 480), id="ppo", marks=pytest.mark.long),
        pytest.param(("dqn", DQN, 496), id="dqn"),
    ],
)
def uninterrupted(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any], int, tegu.Agent]:
    """An algorithm, its settings, the last whole iteration before 500 steps, and what it learns if nothing happens."""
    algorithm, settings, saved = request.param
    return algorithm, settings, saved, tegu.train(Sensor, algorithm, folder=None, **COMMON, **settings)


def same_learners(ours: tegu.Agent, theirs: tegu.Agent) -> Iterator[bool]:
    """Whether each seed has learned the same, to the bit."""
    for index in range(3):
        both = (jax.tree.leaves(agent.learner(index)) for agent in (ours, theirs))
        yield all(np.array_equal(our, their) for our, their in zip(*both, strict=True))


@pytest.mark.slow
def test_what_all_have_learned_survives_an_environment_that_raises(uninterrupted: Any, tmp_path: Path) -> None:
    """The others end as if it had never happened; the one itself goes on from its own last step."""
    algorithm, settings, saved, whole = uninterrupted
    make = Maker()

    def age(progress: Progress) -> None:
        if progress.state == "compiling":
            make.one_of_the_second_seed.lasts = 249

    with pytest.raises(RuntimeError, match="sensor gone"):
        tegu.train(make, algorithm, folder=tmp_path, callbacks=(age,), **COMMON, **settings)
    run = Run.open("last", tmp_path)
    found = checkpoint.load_latest(run.checkpoints)
    assert found.step == run.status.steps == saved
    assert [found.state["loop"][seed]["ahead"] for seed in "012"] == [True, False, False]
    resumed = tegu.resume(run, environment=Sensor)
    assert run.status.state == "finished"
    assert list(same_learners(resumed, whole)) == [True, False, True]


@pytest.mark.slow
def test_an_episode_that_ends_sooner_than_it_did_costs_no_other_seed_anything(
    uninterrupted: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It begins anew, and is not stepped beyond its end; the other seeds go on as if they had never stopped."""
    algorithm, settings, _, whole = uninterrupted
    make = Maker()
    stopped = tegu.train(make, algorithm, folder=tmp_path, callbacks=(half_way,), **COMMON, **settings)
    monkeypatch.setattr(Sensor, "short", make.one_of_the_second_seed.seed)
    with pytest.warns(UserWarning, match="is not deterministic: 1 of 2 episodes"):
        resumed = tegu.resume(stopped.run, environment=Sensor)
    assert list(same_learners(resumed, whole)) == [True, False, True]


@pytest.mark.slow
def test_episodes_without_end_go_on_where_they_stood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last checkpoint is there, and so is everything else, to the bit."""
    monkeypatch.setattr(Sensor, "length", NEVER)
    whole = tegu.train(Sensor, "dqn", folder=tmp_path / "whole", **COMMON, **DQN).run
    stopped = tegu.train(Sensor, "dqn", folder=tmp_path / "stopped", callbacks=(half_way,), **COMMON, **DQN).run
    assert whole is not None
    assert stopped is not None
    tegu.resume(stopped, environment=Sensor)
    assert checkpoint.load_latest(whole.checkpoints).step == 1_000
    assert_same(everything(stopped), everything(whole))
