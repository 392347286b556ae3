"""Seeds are independent, and each equals its own single run to the bit."""

import re
from pathlib import Path
from typing import Any

import jax
import jax.extend
import numpy as np
import pytest

import tegu
from tegu.core.trees import to_arrays
from tegu.training.train import make_loop, make_plan


def trained(environment: str, algorithm: str, settings: dict[str, Any], *, seed: int, seeds: int, backend: str | None):
    loop = make_loop(
        make_plan(environment, algorithm, steps=10_000, seed=seed, seeds=seeds, backend=backend, **settings)
    )
    state, tally = loop.chunk(loop.start(), 20, 10_000)
    arrays = to_arrays(loop.learners(state))
    loop.close()
    return arrays, tally


@pytest.mark.parametrize("backend", [None, "gymnasium"])
def test_each_of_three_seeds_equals_its_single_run(task: tuple[str, str, dict[str, Any]], backend: str | None) -> None:
    """Three seeds on two cores (one core gets two of them), fused and on the host."""
    environment, algorithm, settings = task
    if backend and environment == "lizard":
        pytest.skip("the lizard is ours alone")
    many, tally = trained(environment, algorithm, settings, seed=5, seeds=3, backend=backend)
    for i in range(3):
        one, its_tally = trained(environment, algorithm, settings, seed=5 + i, seeds=1, backend=backend)
        for name, array in one.items():
            np.testing.assert_array_equal(many[name][i], array[0], err_msg=name)
        assert tally.episodes.total_reward[i] == its_tally.episodes.total_reward[0]
    weights = max(many, key=lambda name: many[name][0].size)
    assert not np.array_equal(many[weights][0], many[weights][1]), "different seeds learn differently"


def test_nothing_is_compiled_twice(task: tuple[str, str, dict[str, Any]]) -> None:
    """What a chunk hands back has exactly the types it was given, so the next one runs the same program."""
    environment, algorithm, settings = task
    loop = make_loop(make_plan(environment, algorithm, steps=10_000, **settings))
    state = loop.start()
    for _ in range(2):
        state, _ = loop.chunk(state, 2, 10_000)
    assert loop._chunk._cache_size() == 1


def test_the_same_seed_gives_the_same_training(task: tuple[str, str, dict[str, Any]]) -> None:
    environment, algorithm, settings = task
    first, _ = trained(environment, algorithm, settings, seed=1, seeds=1, backend=None)
    second, _ = trained(environment, algorithm, settings, seed=1, seeds=1, backend=None)
    for name, array in first.items():
        np.testing.assert_array_equal(second[name], array, err_msg=name)


COLLECTIVE = re.compile(r"\b(all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter)(-start)?\(")


@pytest.mark.skipif(jax.local_device_count() < 2, reason="needs two devices, one per core")
@pytest.mark.parametrize("seeds", [2, 3])
def test_devices_never_wait_for_each_other(seeds: int, tmp_path: Path) -> None:
    """No program of a whole run has the devices exchange data: with few threads they may then wait for ever."""
    backend = jax.extend.backend.get_backend()
    before = {id(executable) for executable in backend.live_executables()}
    settings = {"steps": 400, "log_interval": 100, "learning_starts": 50, "train_freq": 10, "net_arch": (seeds,)}
    agent = tegu.train("CartPole-v1", "dqn", seeds=seeds, folder=tmp_path, checkpoint_every=0, **settings)
    agent.evaluate(episodes=3)
    tegu.load(agent.run).evaluate(episodes=3)
    new = [each.hlo_modules()[0] for each in backend.live_executables() if id(each) not in before]
    assert new
    assert not [module.name for module in new if COLLECTIVE.search(module.to_string())]
