"""A sweep: each combination of hyper-parameters a run of its own, equal to what it would have been alone."""

from pathlib import Path
from typing import Any

import pytest
from run_contents import assert_same, everything

import tegu

SMALL: dict[str, Any] = {
    "steps": 2_048,
    "n_envs": 4,
    "n_steps": 32,
    "batch_size": 64,
    "n_epochs": 2,
    "net_arch": [8],
    "log_interval": 256,
}


@pytest.mark.parametrize("backend", [pytest.param("jax", marks=pytest.mark.long), "gymnasium"])
def test_each_run_equals_its_combination_alone(backend: str, tmp_path: Path) -> None:
    """To the bit and in all that is on disk, whether all train in one program or one after the other."""
    settings: dict[str, Any] = SMALL | {"seeds": 2, "backend": backend}
    rates = [1e-3, 3e-4]
    agents = tegu.sweep("CartPole-v1", "ppo", values={"learning_rate": rates}, folder=tmp_path / "swept", **settings)
    for rate, agent in zip(rates, agents, strict=True):
        alone = tegu.train("CartPole-v1", "ppo", learning_rate=rate, folder=tmp_path / "alone", **settings)
        assert agent.run is not None
        assert alone.run is not None
        assert agent.run.config["hyper_parameters"] == alone.run.config["hyper_parameters"]
        assert_same(everything(agent.run), everything(alone.run))


@pytest.mark.long
def test_replay_buffers_of_equal_seeds_stay_apart(tmp_path: Path) -> None:
    """Both combinations have a seed 0, with a buffer each; a stopped one resumes by itself."""
    settings: dict[str, Any] = {"steps": 600, "n_envs": 2, "buffer_size": 300, "learning_starts": 50, "net_arch": [8]}
    settings |= {"batch_size": 8, "log_interval": 100, "train_freq": 10, "gradient_steps": 1}
    stop = (lambda progress: progress.steps < 300,)
    agents = tegu.sweep(
        "CartPole-v1", "dqn", values={"gamma": [0.5, 0.99]}, folder=tmp_path / "swept", callbacks=stop, **settings
    )
    for gamma, agent in zip([0.5, 0.99], agents, strict=True):
        alone = tegu.train("CartPole-v1", "dqn", gamma=gamma, folder=tmp_path / "alone", **settings)
        resumed = tegu.resume(agent.run)
        assert resumed.steps == 600
        assert resumed.run is not None
        assert alone.run is not None
        assert_same(everything(resumed.run), everything(alone.run))


@pytest.mark.long
def test_shapes_train_one_after_the_other_and_combinations_are_all_there(tmp_path: Path) -> None:
    values = {"batch_size": [32, 64], "gamma": [0.9, 0.99]}
    settings = {name: value for name, value in SMALL.items() if name != "batch_size"} | {"steps": 128}
    agents = tegu.sweep("CartPole-v1", "ppo", values=values, folder=tmp_path, **settings)
    found = [(agent.algorithm.batch_size, agent.algorithm.gamma) for agent in agents]  # type: ignore[attr-defined]
    assert found == [(32, 0.9), (32, 0.99), (64, 0.9), (64, 0.99)]


def test_what_cannot_be_swept(tmp_path: Path) -> None:
    for values, message in (
        ({"lr": [1.0]}, "learning_rate"),
        ({"gamma": []}, "needs values"),
        ({"gamma": [0.9, 0.99, 0.9]}, "gamma has 0.9 twice"),
        ({"gamma": ["high"]}, "must be a number"),
    ):
        with pytest.raises(tegu.TeguError, match=message):
            tegu.sweep("CartPole-v1", "ppo", values=values, folder=tmp_path, **SMALL)
    assert not list(tmp_path.iterdir())
