"""What is learned from as an episode may be less than what the environment counts as one: a life of a game."""

import gymnasium
import jax
import numpy as np
import pytest

from tegu.acting.evaluation import HostEvaluator
from tegu.acting.policy import Policy
from tegu.algorithms.r2d2 import R2D2
from tegu.core.schedule import Clock
from tegu.environments.adapters.gymnasium import GymnasiumEnvironments
from tegu.training.compiled import Programs
from tegu.training.loops import host_loop
from tegu.training.plan import spec_of

KEY, N = jax.random.key(0), 2
ALGORITHM = R2D2(net_arch=(4,), lstm_hidden_size=3, buffer_size=600)


class Lives(GymnasiumEnvironments):
    """Every second step costs a life, and the game goes on."""

    def __init__(self, lost):
        super().__init__(lambda: gymnasium.make("CartPole-v1"), [(0, i) for i in range(N)])
        self.lost, self.steps = lost, 0

    def step(self, actions):
        self.steps += 1
        now = super().step(actions)
        assert not now.over.any()
        return now._replace(terminated=np.full(N, self.lost and self.steps % 2 == 0))


@pytest.mark.slow
@pytest.mark.parametrize("lost", [True, False])
def test_memory_begins_anew_with_what_is_learned_from(lost):
    """The state before a step is stored with it: it has to be the one from which a sequence is learned."""
    environments = Lives(lost)
    spec = spec_of("CartPole-v1", environments, N)
    collector = host_loop(ALGORITHM, spec, {0: environments}).each[0].collector
    learner = ALGORITHM.init(KEY, spec)
    collector.start(learner, KEY)
    steps, episodes = collector.collect(learner, Clock.of(0, 100), KEY, 5)
    fresh = ~steps.extras.hidden.any(axis=-1)
    np.testing.assert_array_equal(fresh, np.array([[True, False, lost, False, lost]] * N).T)
    assert episodes.ended == 0
    assert (collector.elapsed == 5).all()


def test_so_does_the_memory_of_an_evaluation():
    environments = Lives(lost=True)
    spec = spec_of("CartPole-v1", environments, N)
    shapes = Programs(ALGORITHM, spec).shapes
    seen = []

    class Watched(Policy):
        def act(self, leaves, observation, memory, begins, *rest, **options):
            seen.append(begins)
            if len(seen) > 5:
                raise StopIteration
            return super().act(leaves, observation, memory, begins, *rest, **options)

    evaluator = HostEvaluator(Watched(ALGORITHM, shapes), lambda seed: environments, [0], 1, deterministic=True)
    learners = jax.tree.map(lambda leaf: leaf[None], ALGORITHM.init(KEY, spec))
    with pytest.raises(StopIteration):
        evaluator(learners, Clock.of(100, 100))
    np.testing.assert_array_equal(seen[:5], np.array([[True, False, True, False, True]] * N).T)
