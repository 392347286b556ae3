"""The noise of gSDE in every loop: a rollout shows it, and a stopped run goes on with it."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from run_contents import assert_same, everything, stopped_and_resumed

import tegu
from tegu.acting.jax_collector import JaxCollector
from tegu.core.schedule import Clock
from tegu.training.loops import make_loop
from tegu.training.plan import make_plan, spec_of

UNITS, N_ENVS, KEY = 3, 2, jax.random.key(1)
LOOPS: list[dict[str, Any]] = [{}, {"backend": "gymnasium"}]


def residuals(hidden: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """How far the ``noise`` ``[T]`` is from the nearest linear function of the features ``[T, n]``."""
    weights = np.linalg.lstsq(hidden, noise, rcond=None)[0]
    return np.abs(noise - hidden @ weights)


@pytest.mark.parametrize("loop", LOOPS, ids=["fused", "host"])
@pytest.mark.parametrize("freq", [-1, 6])
def test_what_is_collected_has_noise_that_is_linear_in_the_features(loop: dict[str, Any], freq: int) -> None:
    """As long as the weights stay, and no longer."""
    algorithm = tegu.A2C(use_sde=True, sde_sample_freq=freq, n_steps=12, net_arch=(UNITS,))
    plan, clock, key = make_plan("Pendulum-v1", algorithm, steps=1000, n_envs=N_ENVS, **loop), Clock.of(0, 1000), KEY
    if loop:
        made = make_loop(plan)
        learner = made.each[0].programs.learner(made.start()[0].learner)
        steps, _ = made.each[0].collector.collect(learner, clock, key, 12)
        made.close()
    else:
        learner = algorithm.init(key, spec_of("Pendulum-v1", plan.source.native, N_ENVS))
        collector = JaxCollector(algorithm, plan.source.native, N_ENVS)
        _, steps, _ = collector.collect(algorithm.at(clock), learner, collector.start(algorithm, learner, key), key, 12)
    network = learner.network
    hidden = np.asarray(network.hidden(steps.observation), float)
    noise = np.asarray(steps.action - network(steps.observation)[0].mean, float)[..., 0]
    for env in range(N_ENVS):
        halves = [residuals(hidden[part, env], noise[part, env]) for part in (slice(6), slice(6, 12))]
        assert np.max(halves) < 1e-4
        assert (residuals(hidden[:, env], noise[:, env]).max() < 1e-4) == (freq == -1)
    assert residuals(np.concatenate(list(hidden.swapaxes(0, 1))), noise.T.ravel()).max() > 1e-3


_SAC = {"learning_starts": 40, "buffer_size": 120, "batch_size": 16, "train_freq": 8, "gradient_steps": 1}
CASES = [
    pytest.param("a2c", {"n_steps": 5}, LOOPS[0], id="a2c, fused"),
    pytest.param("a2c", {"n_steps": 5}, LOOPS[1], id="a2c, host", marks=pytest.mark.long),
    pytest.param("sac", _SAC, LOOPS[0], id="sac, fused", marks=pytest.mark.long),
    pytest.param("sac", _SAC, LOOPS[1], id="sac, host", marks=pytest.mark.long),
]


@pytest.mark.slow
@pytest.mark.parametrize(("algorithm", "settings", "loop"), CASES)
def test_a_stopped_run_goes_on_with_the_same_noise(
    algorithm: str, settings: dict[str, Any], loop: dict[str, Any], tmp_path: Path
) -> None:
    given = {"n_envs": N_ENVS, "net_arch": [8], "steps": 480, "log_interval": 80} | settings | loop
    given |= {"use_sde": True, "sde_sample_freq": 3}
    whole = tegu.train("Pendulum-v1", algorithm, folder=tmp_path / "whole", **given).run
    assert whole is not None
    resumed = stopped_and_resumed("Pendulum-v1", algorithm, folder=tmp_path / "stopped", **given)
    assert_same(everything(resumed), everything(whole))
    arrays = [name for blob in everything(whole)["blobs"].values() for name in blob]
    assert any("normals" in name for name in arrays)
