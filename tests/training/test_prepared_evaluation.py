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


def test_nothing_is_said_of_learners_that_it_is_compiled_with():
    """A greedy policy of an empty table never leaves the first state: an evaluation warns of that, preparing it does
    not."""
    agent = tegu.train("CliffWalking-v1", "q-learning", steps=2, folder=None, n_envs=1)
    agent.prepare(2, agent.learners)
    with pytest.warns(UserWarning, match="no episode of the evaluation ended"):
        agent.evaluate(2)
