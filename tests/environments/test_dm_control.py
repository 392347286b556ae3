"""The tasks of dm_control's suite: as dm_control itself plays them, with ends, seeds and a state that Tegu knows."""

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import pytest
from run_contents import assert_same, everything, stopped_and_resumed

import tegu
from tegu.agents.recording import record
from tegu.check import check
from tegu.environments.adapters.base import HostStep
from tegu.environments.adapters.mujoco import choose_renderer
from tegu.environments.make import find, make, names

pytest.importorskip("dm_control")
mujoco = pytest.importorskip("mujoco")
adapter = pytest.importorskip("tegu.environments.adapters.dm_control")

FEW = ("cartpole-swingup", "finger-turn_easy", "point_mass-hard", "reacher-easy")
EVERY = tuple(f"{domain}-{task}" for domain, task in adapter.suite.ALL_TASKS)


def called(task: str) -> str:
    return f"dm_control/{task}-v0"


def within(environment: gymnasium.Env) -> Any:
    """dm_control's own environment."""
    return environment.unwrapped._environment  # type: ignore[attr-defined]


@pytest.mark.parametrize("task", ["walker-walk", "reacher-easy"])
def test_a_task_is_dm_control_s_own(task: str) -> None:
    """Observations but for the cast, rewards, and the limit of 0.2 s, from the random numbers of a seed."""
    domain, name = task.split("-")
    ours = make(called(task), time_limit=0.2)
    theirs = adapter.suite.load(domain, name, {"time_limit": 0.2, "random": np.random.RandomState(1)})
    theirs.task.random.seed(gymnasium.utils.seeding.np_random(3)[0].integers(2**32, dtype=np.uint32))
    seen, expected = ours.reset(seed=3)[0], theirs.reset()
    space, rng = ours.action_space, np.random.default_rng(0)
    truncated, taken = False, 0
    while not truncated:
        np.testing.assert_equal(seen, {key: np.float32(value) for key, value in expected.observation.items()})
        assert seen in ours.observation_space
        action = rng.uniform(space.low, space.high).astype(np.float32)
        seen, reward, terminated, truncated, _ = ours.step(action)
        expected = theirs.step(action)
        assert (reward, terminated, truncated) == (expected.reward, False, expected.last())
        taken += 1
    assert taken == ours.unwrapped.limit == round(0.2 / theirs.control_timestep())
    assert expected.discount == 1


def test_a_discount_of_0_terminates() -> None:
    """lqr's tasks end at rest, and by nothing else; their motors know no bounds."""
    environment = make(called("lqr-lqr_2_1"))
    assert environment.unwrapped.limit is None
    assert np.isinf(environment.action_space.low).all()
    assert np.isinf(environment.action_space.high).all()
    environment.reset(seed=0)
    still = np.zeros(environment.action_space.shape, np.float32)
    assert environment.step(still)[2:4] == (False, False)
    physics = within(environment).physics
    physics.set_state(np.zeros_like(physics.get_state()))
    physics.forward()
    assert environment.step(still)[2:4] == (True, False)


@pytest.mark.filterwarnings("ignore:.*:RuntimeWarning")
def test_a_diverged_body_ends_the_episode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # MuJoCo writes there that it diverged
    environment = make(called("cartpole-swingup"))
    environment.reset(seed=0)
    before = environment.step(np.zeros(1, np.float32))[0]
    within(environment).physics.data.qpos[0] = np.nan
    seen, *outcome, _ = environment.step(np.zeros(1, np.float32))
    assert outcome == [0.0, True, False]
    np.testing.assert_equal(seen, before)
    assert np.isfinite(environment.reset(seed=0)[0]["position"]).all()
    environment.step(np.zeros(1, np.float32))


def test_a_seed_decides_and_every_instance_has_the_same_body() -> None:
    one, other = (make(called("lqr-lqr_2_1")) for _ in range(2))
    np.testing.assert_array_equal(*(within(each).physics.model.dof_damping for each in (one, other)))
    np.testing.assert_equal(one.reset(seed=5)[0], other.reset(seed=5)[0])
    unlike = one.reset()[0]["position"], other.reset()[0]["position"], one.reset(seed=6)[0]["position"]
    first = one.reset(seed=5)[0]["position"]
    assert all((first != later).any() for later in unlike)
    fresh = [make(called("lqr-lqr_2_1")).reset()[0]["position"] for _ in range(2)]
    assert (fresh[0] != fresh[1]).any()


def acted(environments: Any, n_steps: int, seed: int) -> list[HostStep]:
    space = environments.action_space
    low, high = np.maximum(space.low, -1), np.minimum(space.high, 1)
    actions = np.random.default_rng(seed).uniform(low, high, (n_steps, len(environments), *space.shape))
    return [environments.step(action) for action in actions.astype(np.float32)]


def goes_on(task: str, n: int) -> None:
    """``n`` environments, brought back in the middle of their second episodes, go on as if nothing had happened."""
    options = {"max_episode_steps": 12}
    one, other = (find(called(task), options=options).environments([(7, i) for i in range(n)]) for _ in range(2))
    one.reset()
    seen = acted(one, 17, seed=0)[-1].observation
    arrays, data = one.snapshot()
    assert data["taken"] == [5] * n
    copied = {key: array.copy() for key, array in arrays.items()}
    soon, then, later = acted(one, 5, seed=1), one.snapshot(), acted(one, 5, seed=2)
    np.testing.assert_equal(other.restore(copied, json.loads(json.dumps(data)), seen), seen)
    again = acted(other, 5, seed=1)
    np.testing.assert_equal(other.snapshot(), then)  # in float64: observations hide what differs by little
    again += acted(other, 5, seed=2)
    assert any(step.over.all() for step in later)
    for mine, theirs in zip(soon + later, again, strict=True):
        np.testing.assert_equal(mine._asdict(), theirs._asdict())


@pytest.mark.parametrize("task", FEW)
def test_episodes_go_on_to_the_bit_from_where_they_stood(task: str) -> None:
    """Also where the beginning of an episode changed the body, as a target's place or a motor's strength."""
    goes_on(task, 2)


def drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the test if nothing can draw here."""
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    try:
        choose_renderer()
    except tegu.TeguError:
        pytest.skip("nothing can draw here")


@pytest.mark.long
@pytest.mark.parametrize("task", EVERY)
def test_so_do_those_of_every_task(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if task == "quadruped-escape":  # which shows its terrain to OpenGL where an episode begins
        drawing(monkeypatch)
    goes_on(task, 1)


def test_the_state_is_saved_and_no_actions() -> None:
    environments = find(called("cartpole-swingup")).environments([(7, 0)])
    environments.reset()
    seen = acted(environments, 1, seed=0)[-1].observation
    arrays, data = environments.snapshot()
    assert all(name.startswith("state/0/") for name in arrays)
    with pytest.raises(tegu.TeguError, match="the checkpoint is damaged: of an environment's state integrated is not"):
        environments.restore({**arrays, "state/0/integrated": np.zeros(3)}, data, seen)


def test_mujoco_s_notices_stay_as_they_were(capfd: pytest.CaptureFixture[str]) -> None:
    """dm_control would have all of them, Gymnasium's too, go to its log, and say of each cheetah what is outdated."""
    make(called("cheetah-run")).close()
    assert capfd.readouterr().err == ""
    assert mujoco.get_mju_user_warning() is None


def test_tegu_check_finds_nothing_wrong() -> None:
    report = check(make(called("walker-walk")), steps=30)  # whose height is a number without an axis
    assert not report.findings
    assert report.facts["time_limit"] == 1000


def test_names() -> None:
    listed = names()
    assert {called(task) for task in EVERY} <= {name for name, backend in listed.items() if backend == "gymnasium"}
    with pytest.raises(tegu.TeguError, match="did you mean dm_control/cheetah-run-v0"):
        make("dm_control/cheetah-ran-v0")
    with pytest.raises(tegu.TeguError, match=r"cannot make dm_control/cheetah-run-v0: .*time_limt"):
        make("dm_control/cheetah-run-v0", time_limt=3)
    with pytest.raises(tegu.TeguError, match="render_mode of a task of dm_control must be rgb_array, got 'human'"):
        make("dm_control/cheetah-run-v0", render_mode="human")


def test_without_dm_control_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that nothing has registered is looked for in the package."""
    monkeypatch.delitem(gymnasium.registry, called("cheetah-run"))
    monkeypatch.delitem(sys.modules, adapter.__name__)
    monkeypatch.setitem(sys.modules, "dm_control.suite", None)
    with pytest.raises(tegu.TeguError, match=r"^dm_control/cheetah-run-v0 needs tegu\[dm_control\]: pip install"):
        make(called("cheetah-run"))


def test_a_dm_control_that_fails_is_said_and_hides_no_other_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it does with another release of MuJoCo."""
    monkeypatch.delitem(gymnasium.registry, called("cheetah-run"))
    monkeypatch.delitem(sys.modules, adapter.__name__)
    monkeypatch.setitem(sys.modules, "dm_control.rl.control", SimpleNamespace())
    assert "CartPole-v1" in names()
    with pytest.raises(
        tegu.TeguError, match=r"needs tegu\[dm_control\], which cannot be imported: .* no attribute 'Phy"
    ):
        make(called("cheetah-run"))


@pytest.mark.parametrize("told", [None, "osmesa"])
def test_training_does_not_need_what_draws(told: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a library for drawing is there and cannot draw, dm_control chooses by itself, unless a person did."""
    imported: list[str | None] = []

    def importing(name: str) -> str:
        imported.append(os.environ.get("MUJOCO_GL"))
        if imported[-1] is not None:
            raise ImportError("no device")
        return name

    monkeypatch.setattr(adapter, "importlib", SimpleNamespace(import_module=importing))
    monkeypatch.setattr(adapter, "choose_renderer", lambda: os.environ.setdefault("MUJOCO_GL", "egl"))
    monkeypatch.setenv("MUJOCO_GL", told or "")
    if told is None:
        monkeypatch.delenv("MUJOCO_GL")
        assert adapter._imported() == "dm_control.suite"
        assert imported == ["egl", None]
    else:
        with pytest.raises(ImportError, match="no device"):
            adapter._imported()


SETTINGS: dict[str, Any] = {"n_envs": 2, "steps": 400, "log_interval": 100, "checkpoint_every": 0.0}
SETTINGS |= {"environment_options": {"time_limit": 0.3}, "net_arch": (4,)}
PPO: dict[str, Any] = {"n_steps": 50, "batch_size": 50, "n_epochs": 1}


@pytest.mark.slow
def test_a_policy_learns_from_a_dict(tmp_path: Path) -> None:
    agent = tegu.train(called("cartpole-balance"), "ppo", folder=None, **SETTINGS | PPO | {"steps": 100})
    assert agent.predict(make(called("cartpole-balance")).reset(seed=0)[0])[0].shape == (1,)


@pytest.mark.long
def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    whole = tegu.train(called("reacher-easy"), "ppo", folder=tmp_path / "whole", **SETTINGS | PPO).run
    halves = stopped_and_resumed(called("reacher-easy"), "ppo", folder=tmp_path / "halves", **SETTINGS | PPO)
    assert_same(everything(halves), everything(whole))


@pytest.mark.long
def test_an_episode_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    drawing(monkeypatch)
    agent = tegu.train(called("cartpole-balance"), "ppo", folder=None, **SETTINGS | PPO | {"steps": 100})
    episode = record(agent, max_steps=5)
    frames = episode.frames()
    assert episode.fps == 100
    assert {frame.shape for frame in frames} == {(480, 480, 3)}
    assert all(len(np.unique(frame)) > 50 for frame in frames)
    assert (frames[0] != frames[5]).any()
