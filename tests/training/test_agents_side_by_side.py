"""Several agents in both loops: what each is paid, in figures and evaluations, and who may train them."""

from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
import pytest
from duet import STEPS, Duet, ParallelDuet
from metronome import Only

import tegu
from tegu.algorithms.base import Algorithm, named
from tegu.algorithms.catalogue import ALGORITHMS
from tegu.algorithms.registry import class_of
from tegu.core.step import Decision
from tegu.environments.base import Timestep
from tegu.experience.base import Rollout


class Monotone(Algorithm):
    """Always plays for song 0: it pays the alto 1 and the bass a half if that is the song, else nothing."""

    multi_agent: ClassVar[bool] = True
    name: str = named("monotone")
    experience = Rollout(2 * STEPS)

    def init(self, key, spec):
        assert spec.agents == ("alto", "bass")
        return Only.start()

    def act(self, learner, observation, memory, key, *, explore):
        n = len(observation["bass"])
        return Decision({"alto": jnp.ones(n, jnp.int32), "bass": -jnp.ones((n, 1))}, memory)

    def update(self, learner, batch, key):
        songs = batch.observation["alto"]["x"][..., 0]  # 1 where it is song 0
        bass_was_there = batch.reward["bass"] != 0
        wrong = (batch.reward["alto"] != songs) | (bass_was_there & (batch.reward["bass"] != songs / 2))
        return learner.reporting({"wrong": wrong.mean()})


def left_early() -> ParallelDuet:
    return ParallelDuet(bass_leaves_after=1)


worlds = pytest.mark.parametrize("environment", [Duet(), ParallelDuet, left_early], ids=["fused", "host", "leaving"])
SETTINGS: dict[str, Any] = {"steps": 400, "log_interval": 1, "n_envs": 5, "seeds": 2, "folder": None}


@worlds
def test_every_agents_return_is_told(environment: Any) -> None:
    """The bass is paid half of what the alto is, in the first step only if it then leaves; the main figure is the
    mean over the agents; an episode lasts until all have left."""
    figures: list[dict[str, float]] = []
    tegu.train(environment, Monotone(), callbacks=(lambda progress: figures.extend(progress.metrics),), **SETTINGS)
    assert len(figures) > 10
    for figure in figures:
        assert figure["train/wrong"] == 0
        alto, bass = (figure[f"rollout/ep_rew_mean/{agent}"] for agent in ("alto", "bass"))
        assert figure["rollout/ep_rew_mean"] == pytest.approx((alto + bass) / 2)
        assert figure["rollout/ep_len_mean"] == STEPS
        assert bass < alto / 2 if environment is left_early else bass == pytest.approx(alto / 2)


@worlds
def test_every_agents_returns_are_evaluated(environment: Any) -> None:
    evaluation = tegu.train(environment, Monotone(), **SETTINGS).evaluate(20)
    alto, bass = evaluation.agents["alto"], evaluation.agents["bass"]
    assert alto.shape == bass.shape == evaluation.returns.shape == (2, 20)
    np.testing.assert_allclose(evaluation.returns, (alto + bass) / 2)
    assert set(np.unique(alto)) <= set(range(STEPS + 1))
    assert (bass <= alto / 2).all()
    assert (bass == alto / 2).all() == (environment is not left_early)
    np.testing.assert_array_equal(evaluation.lengths, STEPS)


@pytest.mark.parametrize("name", [name for name in ALGORITHMS if not class_of(name).multi_agent])
def test_one_agents_algorithms_are_refused_where_there_are_several(name: str) -> None:
    title = ALGORITHMS[name].public
    with pytest.raises(tegu.TeguError, match=rf"^{title} trains a single agent, duet has 2 \(alto, bass\):"):
        tegu.train(Duet(), name, folder=None)


@pytest.mark.parametrize(
    "name",
    [name for name in ALGORITHMS if class_of(name).multi_agent and name != "muzero"],  # which is for both
)
def test_several_agents_algorithms_are_refused_where_there_is_one(name: str) -> None:
    with pytest.raises(tegu.TeguError, match=r"needs .* CartPole-v1 is not one$"):
        tegu.train("CartPole-v1", name, folder=None)


class Spoilt(Duet):
    """The bass is once paid NaN."""

    def step(self, state: Any, action: Any, key: Any) -> Timestep:
        now = super().step(state, action, key)
        return now._replace(reward=now.reward | {"bass": now.reward["bass"] + jnp.where(state == 1, jnp.nan, 0.0)})


def test_one_agents_nan_stops_the_training() -> None:
    with pytest.raises(tegu.TeguError, match="a reward became NaN or infinite by step 40"):
        tegu.train(Spoilt(), Monotone(), **SETTINGS)
