"""What must hold for every algorithm that can be named."""

import jax
import numpy as np
import pytest
from duet import Duet

import tegu
from tegu.algorithms.registry import ALGORITHMS
from tegu.training.fused import Fused
from tegu.training.train import spec_of, validate

DUET = Duet()
SMALL = {"net_arch": (8,), "n_steps": 4, "batch_size": 8}
REPLAY = {"net_arch": (8,), "buffer_size": 64, "learning_starts": 8, "batch_size": 8, "train_freq": 4}
HOMES = {
    "q-learning": (tegu.make("lizard"), {}),
    "dqn": (tegu.make("CartPole-v1"), REPLAY | {"n_steps": 2}),
    "ppo": (tegu.make("CartPole-v1"), SMALL),
    "ddpg": (tegu.make("Pendulum-v1"), REPLAY),
    "alphazero": (tegu.make("tic-tac-toe"), {"width": 8, "blocks": 1, "simulations": 4, "train_freq": 8}),
    "maddpg": (DUET, REPLAY | {"ensemble": 2, "infer_policies": True}),
    "matd3": (DUET, REPLAY),
    "iddpg": (DUET, REPLAY),
    "ippo": (DUET, SMALL | {"share_parameters": True}),
    "mappo": (DUET, SMALL),
}  #: an environment for each, and small settings


def test_all_have_a_home():
    assert HOMES.keys() == ALGORITHMS.keys()


@pytest.fixture(params=HOMES)
def home(request):
    """An algorithm, its environment, and the specification of two of these side by side."""
    environment, settings = HOMES[request.param]
    algorithm, spec = ALGORITHMS[request.param](**settings), spec_of(environment.id, environment, 2)
    validate(algorithm, spec)
    return algorithm, environment, spec


def types(tree):
    return [(leaf.shape, leaf.dtype, leaf.weak_type) for leaf in jax.tree.leaves(tree)]


def test_a_run_keeps_its_types(home):
    """No array is of a weak type, and an iteration hands back exactly the types it was given.

    So nothing is compiled twice, and a checkpoint fits.
    """
    algorithm, environment, spec = home
    loop = Fused(algorithm, environment, 2)
    state = jax.eval_shape(lambda: loop.init(algorithm, spec, jax.random.key(0)))
    assert not any(leaf.weak_type for leaf in jax.tree.leaves(state.learner))
    after, _ = jax.eval_shape(lambda state: loop.iteration(algorithm, state, jax.numpy.int32(1)), state)
    assert types(after.learner) == types(state.learner)
    assert types(after.replay) == types(state.replay)
    assert types(after.world.memory) == types(state.world.memory)
    assert jax.tree.structure(after.learner) == jax.tree.structure(state.learner)


def test_figures_are_scalars(home):
    algorithm, environment, spec = home
    loop = Fused(algorithm, environment, 2)

    def figures():
        state = loop.init(algorithm, spec, jax.random.key(0))
        return loop.iteration(algorithm, state, jax.numpy.int32(1))[1][2]

    metrics = jax.eval_shape(figures)
    assert len(metrics) > 2
    assert {(leaf.shape, leaf.dtype) for leaf in metrics.values()} == {((), np.dtype(np.float32))}
