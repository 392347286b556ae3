"""Going on with a run: to more steps, from damaged checkpoints, and not twice at once."""

from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from run_contents import assert_same, everything

import tegu
from tegu.core.schedule import Linear
from tegu.environments.base import Timestep
from tegu.runs import Run


@pytest.mark.slow
def test_resume_goes_on_to_more_steps(tmp_path: Path) -> None:
    """``steps`` is the new total; metrics go on where they ended."""
    first = tegu.train("lizard", steps=1_000, folder=tmp_path)
    more = tegu.resume(first.run, steps=3_000)
    assert (first.steps, more.steps) == (1_000, 3_000)
    assert first.run is not None
    with first.run.metrics(read_only=True) as metrics:
        steps, _ = metrics.read("train/td_error")
    assert steps[0] <= 1_000 < steps[-1] == 3_000
    assert len(set(steps)) == len(steps)


def test_resuming_a_finished_run_changes_nothing(tmp_path: Path) -> None:
    agent = tegu.train("lizard", steps=1_000, folder=tmp_path)
    assert agent.run is not None
    before = everything(agent.run)
    with pytest.warns(UserWarning, match="is finished: all 1,000 steps are done"):
        tegu.resume(agent.run)
    assert_same(everything(agent.run), before)


@pytest.mark.parametrize(
    ("steps", "message"),
    [(-5, "steps must be at least 1"), (500, "at least those done, 1,000, got 500"), (10**15, "steps must be at most")],
)
def test_steps_that_cannot_be(steps: int, message: str, tmp_path: Path) -> None:
    agent = tegu.train("lizard", steps=1_000, folder=tmp_path)
    with pytest.raises(tegu.TeguError, match=message):
        tegu.resume(agent.run, steps=steps)
    assert agent.run is not None
    assert agent.run.status.steps == 1_000


def _rates(run: Run) -> dict[int, float]:
    with run.metrics(read_only=True) as metrics:
        steps, values = metrics.read("rollout/exploration_rate")
    return dict(zip(steps.tolist(), values.tolist(), strict=True))


@pytest.mark.parametrize("stretch", [False, True])
def test_schedules_stay_as_planned_unless_they_are_stretched(stretch: bool, tmp_path: Path) -> None:
    """A run that is stopped on its way to more steps knows where it was going."""
    given: dict[str, Any] = {"exploration_fraction": 1.0, "exploration_final_eps": 0.0, "log_interval": 500}
    run = tegu.train("lizard", steps=1_000, folder=tmp_path, **given).run
    assert run is not None
    planned = _rates(run)
    stopped = tegu.resume(run, steps=2_000, stretch_schedules=stretch, callbacks=(lambda p: p.steps < 1_500,))
    assert stopped.steps == 1_500
    assert tegu.resume(run).steps == 2_000
    found = _rates(run)
    assert {step: found[step] for step in planned} == planned
    assert found[1_500] == pytest.approx(0.25 if stretch else 0, abs=0.15 if stretch else 0)
    assert (found[1_500] > planned[1_000]) == stretch


def test_going_on_after_a_learning_rate_has_come_to_0_is_said(tmp_path: Path) -> None:
    given: dict[str, Any] = {"learning_rate": "lin_1e-2", "n_envs": 2, "n_steps": 32, "batch_size": 32, "net_arch": [8]}
    agent = tegu.train("CartPole-v1", "ppo", steps=640, folder=tmp_path, **given)
    says = r"^PPO: learning_rate is 0 from step 640 on, and nothing is learned with it: stretch_schedules"
    with pytest.warns(UserWarning, match=says):
        longer = tegu.resume(agent, steps=1_280)
    same = jax.tree.map(np.array_equal, agent.learner().network, longer.learner().network)
    assert all(jax.tree.leaves(same))  # so the warning is true
    stretched = tegu.resume(longer, steps=1_920, stretch_schedules=True)  # without a warning
    same = jax.tree.map(np.array_equal, longer.learner().network, stretched.learner().network)
    assert not all(jax.tree.leaves(same))


def test_only_a_rate_that_comes_to_0_while_training_goes_on_is_said(tmp_path: Path) -> None:
    small: dict[str, Any] = {"n_envs": 2, "n_steps": 32, "batch_size": 32, "net_arch": [8], "folder": tmp_path}
    inner = tegu.train("simple_spread_v3", "ippo", steps=64, learning_rate="lin_1e-3", **small)
    with pytest.warns(UserWarning, match=r"^IPPO: learning_rate is 0 from step 64 on"):
        tegu.resume(inner, steps=128)
    sooner = tegu.train(
        "CartPole-v1", tegu.PPO(learning_rate=Linear(1e-2, 0.0, 0.5)), steps=4096, n_envs=2, folder=tmp_path
    )
    with pytest.warns(UserWarning, match=r"^PPO: learning_rate is 0 from step 2,048 on"):
        longer = tegu.resume(sooner, steps=8192)
    with pytest.warns(UserWarning, match="is finished: all 8,192 steps are done") as told:
        tegu.resume(longer)
    assert len(told) == 1


class Growing(tegu.Environment):
    """Its state holds more in a later version."""

    id: str = "growing"
    max_episode_steps: int | None = 5
    later: ClassVar[bool] = False

    @property
    def observation_space(self):
        return gymnasium.spaces.Box(0, 1, (1,))

    @property
    def action_space(self):
        return gymnasium.spaces.Discrete(2)

    def reset(self, key):
        return {"x": jnp.zeros(1)} | ({"y": jnp.zeros(1)} if self.later else {}), jnp.zeros(1)

    def step(self, state, action, key):
        return Timestep(state, state["x"], jnp.float32(1), jnp.bool_(False))


def test_a_state_that_is_made_otherwise_now_is_the_environments_fault(tmp_path: Path, monkeypatch) -> None:
    """The agent can still be loaded."""
    small: dict[str, Any] = {"n_envs": 2, "n_steps": 8, "batch_size": 16, "n_epochs": 1, "net_arch": [4]}
    run = tegu.train(Growing, "ppo", steps=32, folder=tmp_path, learning_rate=1e-3, **small).run
    monkeypatch.setattr(Growing, "later", True)
    says = r"^the checkpoint does not fit the environments as they are made now: \['collector'\].*\['y'\] is missing$"
    with pytest.raises(tegu.TeguError, match=says):
        tegu.resume(run, steps=64, environment=Growing)
    assert tegu.load(run, environment=Growing).steps == 32


class Chance(gymnasium.Env):
    """Ends by chance, which no seed sets, and refuses to be stepped after its end."""

    observation_space = gymnasium.spaces.Box(-1, 1, (2,))
    action_space = gymnasium.spaces.Discrete(2)
    chance = np.random.default_rng(0)

    def reset(self, *, seed=None, options=None):
        self.over = False
        return np.zeros(2, np.float32), {}

    def step(self, action):
        assert not self.over
        self.over = bool(Chance.chance.random() < 0.05)
        return np.zeros(2, np.float32), 1.0, self.over, False, {}


def test_an_episode_that_ends_sooner_than_it_did_begins_anew(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "n_envs": 8,
        "n_steps": 16,
        "batch_size": 64,
        "n_epochs": 1,
        "net_arch": (8,),
        "learning_rate": 1e-3,
    }
    agent = tegu.train(Chance, "ppo", steps=512, folder=tmp_path, **settings)
    with pytest.warns(UserWarning, match="is not deterministic: . of 8 episodes"):
        assert tegu.resume(agent.run, steps=1_024, environment=Chance).steps == 1_024


def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path) -> None:
    """The last good checkpoint is found and the run still ends as it would have."""
    whole = tegu.train("lizard", steps=2_000, log_interval=500, folder=tmp_path / "whole")
    agent = tegu.train("lizard", steps=2_000, log_interval=500, checkpoint_every=0, folder=tmp_path / "damaged")
    assert agent.run is not None
    assert whole.run is not None
    newest = max(agent.run.checkpoints.glob("[0-9]*"))
    (newest / "learner.safetensors").write_bytes(b"not what it was")
    with pytest.warns(UserWarning, match="a newer checkpoint is skipped"):
        tegu.resume(agent.run)
    assert_same(everything(agent.run), everything(whole.run))


def test_a_run_that_is_training_cannot_be_resumed_beside(tmp_path: Path) -> None:
    agent = tegu.train("lizard", steps=500, folder=tmp_path)
    assert agent.run is not None
    with agent.run.lock(), pytest.raises(tegu.TeguError, match=r"lock|training"):
        tegu.resume(agent.run)
