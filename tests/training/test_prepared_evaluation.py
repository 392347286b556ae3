"""An evaluation that is compiled in another thread while training runs."""

import numpy as np
import pytest

import tegu

SMALL = {"steps": 512, "n_envs": 2, "n_steps": 16, "batch_size": 32, "n_epochs": 1, "net_arch": [4], "folder": None}


@pytest.mark.parametrize("seeds", [1, 3])
def test_it_finds_what_one_compiled_afterwards_does(seeds):
    agent = tegu.train("CartPole-v1", "ppo", seeds=seeds, prepare_evaluation=4, **SMALL)
    assert (4, True) in agent._evaluators
    prepared = agent.evaluate(4)
    agent._evaluators.clear()
    np.testing.assert_array_equal(prepared.returns, agent.evaluate(4).returns)
