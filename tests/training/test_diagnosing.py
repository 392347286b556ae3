"""What loops show an algorithm to be diagnosed with: steps it learns from, a few times, and nothing else changes."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from metronome import HostMetronome, Metronome, Only

import tegu
from tegu.algorithms.base import Algorithm, named
from tegu.core.step import Decision, Step
from tegu.experience.base import Replay, Rollout

CAPACITY, STEPS, N_ENVS = 120, 400, 2


class Stamping(Algorithm):
    """Numbers its steps, from 1 on in every environment, and says which it was shown."""

    name: str = named("stamping")
    replays: bool = eqx.field(static=True, default=True)
    n_steps: int = eqx.field(static=True, default=3)

    @property
    def experience(self) -> Replay | Rollout:
        return Replay(CAPACITY, 16, 40, 10, 2, self.n_steps) if self.replays else Rollout(10)

    def init(self, key, spec):
        return Only.start()

    def begin(self, learner, key, n):
        return jnp.zeros(n, jnp.int32)

    def act(self, learner, observation, memory, key, *, explore):
        action = jnp.zeros(len(observation), jnp.int32)
        return Decision(action, memory + 1, extras=jnp.broadcast_to(learner.updates, action.shape))

    def update(self, learner, batch, key):
        return learner.reporting({"learned": jnp.ones(())})

    def diagnose(self, learner, steps):
        assert isinstance(steps, Step)
        assert steps.extras.shape == steps.reward.shape == (256,)
        # how many updates ago the policy acted: 0 is the last
        ages = learner.updates - steps.extras
        return {"youngest": ages.min().astype(float), "oldest": ages.max().astype(float)}


def rows(environment: Any, algorithm: Algorithm, **settings: Any) -> list[dict[str, float]]:
    found: list[dict[str, float]] = []

    def listen(progress: Any) -> None:
        found.extend(progress.metrics if progress.state == "training" else [])

    given = {"steps": STEPS, "n_envs": N_ENVS, "log_interval": 10, "folder": None} | settings
    tegu.train(environment, algorithm, callbacks=listen, **given)
    return found


worlds = pytest.mark.parametrize("environment", [Metronome(), HostMetronome], ids=["fused", "host"])


@worlds
def test_of_a_replay_buffer_all_rows_are_shown(environment: Any) -> None:
    """The ring holds 12 iterations of 10 steps, with two updates each: the youngest rows are of the policy before the
    last two updates, the oldest of that before the first."""
    found = [row for row in rows(environment, Stamping()) if "train/youngest" in row]
    last = found[-1]
    assert last["train/youngest"] == 2
    assert last["train/oldest"] == 2 * CAPACITY / 10


@worlds
def test_of_rollouts_one_is_shown(environment: Any) -> None:
    """The next one, or the last."""
    found = [row for row in rows(environment, Stamping(replays=False)) if "train/youngest" in row]
    assert len(found) == 20
    assert {row["train/youngest"] for row in found} == {row["train/oldest"] for row in found}
    assert found[0]["train/oldest"] == (0 if isinstance(environment, Metronome) else 1)


def test_a_network_is_looked_at_twenty_times_and_not_before_it_learns() -> None:
    found = rows(Metronome(), Stamping())
    shown = [row["time/total_timesteps"] for row in found if "train/youngest" in row]
    assert shown == [step for step in range(20, STEPS + 1, 20) if step > 50]
    assert all("train/learned" in row for row in found if "train/youngest" in row)


@pytest.mark.slow
@pytest.mark.parametrize("environment", ["CartPole-v1", HostMetronome], ids=["fused", "host"])
def test_looking_changes_nothing(environment: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither what is learned nor what is logged besides."""
    looked = {"train/dead_units", "train/effective_rank"}

    def trained(times: int) -> tuple[int, Any, Any]:
        monkeypatch.setattr("tegu.training.trainer.DIAGNOSES", times)
        metrics: list[dict[str, float]] = []
        small = tegu.DQN(net_arch=(4,), learning_starts=20, buffer_size=64, batch_size=8)
        given = {"steps": 160, "log_interval": 8, "n_envs": 2, "folder": None}
        agent = tegu.train(environment, small, callbacks=lambda progress: metrics.extend(progress.metrics), **given)
        others = [{k: v for k, v in row.items() if k not in looked and not k.startswith("time/")} for row in metrics]
        return sum(looked <= row.keys() for row in metrics), jax.tree.leaves(agent.learners), others

    (seldom, one, logged), (often, other, also) = trained(1), trained(20)
    assert often > 5 * seldom > 0
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    assert logged == also
