"""A proof for each contract, in both loops: small algorithms that succeed only if it is kept."""

from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from duet import AGENTS, OBSERVATIONS, SONG, Duet
from gymnasium import spaces
from metronome import FIRST, Counting, HostMetronome, Metronome, Only
from run_contents import assert_same, everything

import tegu
from tegu.algorithms.actor_critic import inputs
from tegu.algorithms.base import Algorithm, Update, named
from tegu.core.step import Decision, Step
from tegu.environments.base import Environment, Timestep
from tegu.experience.base import Feedback, Prioritized, Replay, Rollout
from tegu.training.loops import make_loop
from tegu.training.plan import make_plan
from tegu.training.train import Phase

both_loops = pytest.mark.parametrize("environment", [Metronome(), HostMetronome], ids=["fused", "split"])


def trained(environment: Any, algorithm: Algorithm, steps: int, n_envs: int = 2) -> tuple[Any, Any]:
    """The loop and its state after training without a trainer."""
    loop = make_loop(make_plan(environment, algorithm, steps=steps, n_envs=n_envs))
    state, done = loop.start(), 0
    while done < steps:
        state, tally = loop.chunk(state, 10, done, steps)
        done += int(tally.iterations[0]) * loop.steps_per_iteration
    loop.close()
    assert done <= steps + 9 * loop.steps_per_iteration
    return loop, state


class Guessing(Algorithm):
    """Acts at random; keeps in the extras how often a step was learned from."""

    name: str = named("guessing")

    def init(self, key, spec):
        return Only.start()

    def act(self, learner, observation, memory, key, *, explore):
        n = len(observation)
        return Decision(jax.random.randint(key, (n,), FIRST, FIRST + 2), extras=jnp.zeros(n, jnp.int32))


class Prioritizing(Guessing):
    """Finds the steps that were paid interesting, others not."""

    alpha: float = 1.0

    @property
    def experience(self) -> Replay:
        return Replay(1_000, 16, 100, 10, 1, draw=Prioritized(self.alpha))

    def act(self, learner, observation, memory, key, *, explore):
        return Decision(jax.random.randint(key, (len(observation),), FIRST, FIRST + 20))

    def update(self, learner, batch, key):
        paid = batch.rows.reward > 0
        feedback = Feedback(priority=jnp.where(paid, 100.0, 0.0))
        return Update(Only(learner.updates + 1), {"paid": paid.mean()}, feedback)


@pytest.mark.slow
@both_loops
def test_priorities_flow_back(environment: Any) -> None:
    """Few steps are paid, about 5 %: without priorities few of them are drawn, with them they are most of what is."""
    drawn = {}
    for alpha in (0.0, 1.0):
        shares: list[float] = []

        def listen(progress: Any, shares: list[float] = shares) -> None:
            shares.extend(metrics["train/paid"] for metrics in progress.metrics if "train/paid" in metrics)

        settings: dict[str, Any] = {"steps": 6_000, "n_envs": 2, "log_interval": 500, "folder": None}
        tegu.train(environment, Prioritizing(alpha=alpha), callbacks=(listen,), **settings)
        drawn[alpha] = float(np.mean(shares[-6:]))
    assert drawn[0.0] < 0.1
    assert drawn[1.0] > 0.3


class Latent(Guessing):
    """Writes to each row drawn how often that was."""

    experience = Replay(1_000, 1, 100, 10, 3)

    def update(self, learner, batch, key):
        nothing = dict.fromkeys(Step._fields)
        revised = Step(**nothing)._replace(extras=batch.rows.extras + 1)
        return Update(Only(learner.updates + 1), {"seen": jnp.ones(())}, Feedback(rows=revised))


@both_loops
def test_latents_are_stored(environment: Any) -> None:
    """Every update draws one row: all rows together know of every update."""
    loop, state = trained(environment, Latent(), 900)
    (mine,) = state
    learner = jax.tree.map(lambda leaf: np.asarray(leaf)[0], loop.learners(state))
    extras = np.asarray(mine.buffer.rows.extras)
    assert extras.sum() == learner.updates > 100
    assert extras.max() > 1


class Remembering(Counting):
    """Counts as its base does, and finds in each window that it did."""

    experience = Replay(500, 8, 50, 10, 1, n_steps=3)

    def act(self, learner, observation, memory, key, *, explore):
        return Decision(memory, memory + 1, extras=memory)

    def update(self, learner, batch, key):
        rows = batch.rows
        ended = rows.terminated | rows.truncated
        expected = jnp.where(ended[:-1], FIRST, rows.extras[:-1] + 1)
        right = (rows.extras[1:] == expected).all() & (rows.action == rows.extras).all()
        return learner.reporting({"right": right.astype(jnp.float32)})


@both_loops
@pytest.mark.parametrize("algorithm", [Counting(), Remembering()], ids=["rollout", "replay"])
def test_a_recurrent_policy(environment: Any, algorithm: Algorithm) -> None:
    """Its memory goes on with the episode, begins anew with the next, and comes back with what was stored."""
    found: list[dict[str, float]] = []
    tegu.train(
        environment,
        algorithm,
        steps=1_200,
        n_envs=3,
        folder=None,
        callbacks=(lambda progress: found.extend(progress.metrics),),
    )
    right = [metrics["train/right"] for metrics in found if "train/right" in metrics]
    assert len(right) > 5
    assert all(value == 1 for value in right)


class Target(Environment):
    """Pays less the further the action is from 0.7. Observes how many steps there were."""

    id: str = eqx.field(static=True, kw_only=True, default="target")
    max_episode_steps: int | None = eqx.field(static=True, kw_only=True, default=5)

    @property
    def observation_space(self) -> spaces.Box:
        return spaces.Box(0, 10, (1,))

    @property
    def action_space(self) -> spaces.Box:
        return spaces.Box(-1, 1, (1,))

    def reset(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jnp.zeros(()), jnp.zeros(1)

    def step(self, state: jax.Array, action: jax.Array, key: jax.Array) -> Timestep:
        paid = -jnp.abs(action[0] - 0.7)
        return Timestep(state + 1, (state + 1)[None], paid, jnp.zeros((), bool))


class HostTarget(gymnasium.Env):
    """The same on the host."""

    observation_space, action_space = spaces.Box(0, 10, (1,)), spaces.Box(-1, 1, (1,))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros(1, np.float32), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.steps += 1
        seen = np.full(1, self.steps, np.float32)
        return seen, -float(abs(action[0] - 0.7)), False, self.steps == 5, {}


class Mean(NamedTuple):
    mean: jax.Array


class EvolutionStrategy(Algorithm):
    """Every environment plays one member of a population; the mean moves towards those that did well."""

    name: str = named("evolution-strategy")
    experience = Rollout(8, whole=True)  # longer than an episode: a second one begins within the rollout

    def init(self, key, spec):
        return Mean(jnp.zeros(()))

    def begin(self, learner, key, n):
        return jax.random.normal(key, (n,))

    def act(self, learner, observation, memory, key, *, explore):
        return Decision((learner.mean + 0.1 * memory)[:, None], memory, extras=memory)

    def update(self, learner, batch, key):
        first = jnp.cumprod(jnp.concatenate([jnp.ones((1, batch.reward.shape[1])), ~batch.truncated[:-1]]), axis=0)
        fitness = (first * batch.reward).sum(axis=0)
        better = (fitness - fitness.mean()) / (fitness.std() + 1e-8)
        fresh = (batch.observation[0] == 0).all() & (batch.observation[1] == 1).all()
        metrics = {"fresh": fresh.astype(jnp.float32), "mean": learner.mean}
        return Update(Mean(learner.mean + 0.05 * (better * batch.extras[0]).mean()), metrics)


@pytest.mark.parametrize("environment", [Target(), HostTarget], ids=["fused", "split"])
def test_whole_episodes_for_an_evolution_strategy(environment: Any) -> None:
    found: list[dict[str, float]] = []
    agent = tegu.train(
        environment,
        EvolutionStrategy(),
        steps=8 * 16 * 60,
        n_envs=16,
        folder=None,
        callbacks=(lambda progress: found.extend(progress.metrics),),
    )
    assert all(metrics["train/fresh"] == 1 for metrics in found if "train/fresh" in metrics)
    assert float(agent.learner().mean) == pytest.approx(0.7, abs=0.15)


class Learned(Guessing):
    """Counts its updates on-policy."""

    experience = Rollout(5)

    def update(self, learner, batch, key):
        return learner.reporting({"updates": learner.updates})


def test_two_phases_hand_over_what_was_learned(tmp_path: Path) -> None:
    """The second goes on where the first ended, or with what a function makes of that; steps count on."""
    settings: dict[str, Any] = {"steps": 100, "n_envs": 2, "seeds": 2}

    def doubled(before: Only, fresh: Only) -> Only:
        assert fresh.updates.tolist() == [0, 0]
        return Only(before.updates * 2)

    for hand_over, expected in ((None, 10 + 20), (doubled, 20 + 20)):
        then = [Phase(Metronome(), Learned(), 200, hand_over)]
        agent = tegu.train(Metronome(), Learned(), **settings, then=then, folder=None)
        assert agent.learners.updates.tolist() == [expected, expected]
        assert agent.steps == 300


@pytest.mark.slow
def test_a_run_of_two_phases_resumes_in_the_second(tmp_path: Path) -> None:
    """Stopped in the second phase, on another environment, it ends as if it had never stopped."""
    settings: dict[str, Any] = {"steps": 1_024, "n_envs": 2, "n_steps": 64, "batch_size": 64, "net_arch": [8]}
    ppo = tegu.PPO(n_steps=32, batch_size=64, net_arch=(8,), n_epochs=1)
    then = [Phase("CartPole-v1", ppo, 1_024)]
    settings |= {"log_interval": 128}
    whole = tegu.train("CartPole-v1", "ppo", **settings, then=then, folder=tmp_path / "whole")
    stop = (lambda progress: progress.steps < 1_500,)
    stopped = tegu.train("CartPole-v1", "ppo", **settings, then=then, folder=tmp_path / "stopped", callbacks=stop)
    assert 1_500 <= stopped.steps < 2_048
    with pytest.raises(tegu.TeguError, match="2 phases"):
        tegu.resume(stopped.run)
    resumed = tegu.resume(stopped.run, then=then)
    assert resumed.steps == whole.steps == 2_048
    assert resumed.run is not None
    assert whole.run is not None
    assert_same(everything(resumed.run), everything(whole.run))
    with pytest.warns(UserWarning, match=r"is finished: all 2,048 steps are done$"):
        assert tegu.resume(stopped.run, then=then).steps == 2_048


def test_a_second_phase_begins_where_a_longer_first_one_ended(tmp_path: Path) -> None:
    """The first was resumed to more steps than its run was planned with."""

    def until(steps: int) -> dict[str, Any]:
        return {"then": [Phase(Metronome(), Learned(), 200)], "callbacks": lambda progress: progress.steps < steps}

    run = tegu.train(Metronome(), Learned(), steps=100, n_envs=2, folder=tmp_path, **until(50)).run
    assert run is not None
    again: dict[str, Any] = {"environment": Metronome(), "algorithm": Learned}
    assert 200 <= tegu.resume(run, steps=150, **again, **until(200)).steps < 350
    assert tegu.resume(run, **again, **until(1_000)).steps == 350


class Whispered(Duet):
    """The song is told beside the agents, and not to them."""

    @property
    def observation_space(self) -> spaces.Dict:
        return spaces.Dict({**OBSERVATIONS.spaces, "state": SONG})

    def reset(self, key: jax.Array) -> tuple[jax.Array, dict[str, Any]]:
        song, observation = super().reset(key)
        silence = jnp.zeros(2)
        return song, {
            "alto": observation["alto"] | {"x": silence},
            "bass": silence,
            "state": observation["bass"],
        }


@pytest.mark.slow
def test_a_critic_sees_the_state_and_actors_do_not() -> None:
    agent = tegu.train(
        Whispered(), tegu.MAPPO(n_steps=16, batch_size=32, net_arch=(8,)), steps=2_000, n_envs=8, folder=None
    )
    learner = agent.learner()
    spec = agent.spec
    seen = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], spec.observation_space.sample())
    ppo = agent.algorithm.ppo  # type: ignore[attr-defined]
    for name in AGENTS:
        policy = learner.policies[(name,)]
        outputs = []
        for song in (0, 1):
            view = agent.algorithm.view(seen | {"state": jnp.eye(2)[song][None]}, name)  # type: ignore[attr-defined]
            x = inputs(ppo, policy, view)
            outputs.append((policy.network.actor(policy.network.embed(x)[0]), policy.network(x)[1]))
        np.testing.assert_array_equal(outputs[0][0], outputs[1][0])
        assert abs(float(outputs[0][1][0] - outputs[1][1][0])) > 1e-3


class Watching:
    """Remembers when it was called, and wants to stop at 300 steps."""

    every = 100

    def __init__(self) -> None:
        self.calls: list[tuple[int, int]] = []

    def __call__(self, progress: Any, learners: Any) -> bool:
        self.calls.append((progress.steps, int(learners.updates[0])))
        return progress.steps < 300


@both_loops
def test_an_observer_that_stops(environment: Any) -> None:
    """It sees what was learned by then, and chunks are cut for it though metrics are logged less often."""
    observer = Watching()
    agent = tegu.train(
        environment, Learned(), steps=1_000, n_envs=2, log_interval=1_000, folder=None, observers=(observer,)
    )
    assert observer.calls == [(100, 10), (200, 20), (300, 30)]
    assert agent.steps == 300


@pytest.mark.parametrize("backend", ["jax", pytest.param("gymnasium", marks=pytest.mark.long)])
def test_evaluation_while_training_keeps_the_best(backend: str, tmp_path: Path) -> None:
    agent = tegu.train(
        "CartPole-v1",
        "ppo",
        steps=8_192,
        n_envs=8,
        seeds=2,
        backend=backend,
        eval_every=2_048,
        eval_episodes=4,
        folder=tmp_path,
    )
    assert agent.run is not None
    with agent.run.metrics(read_only=True) as store:
        steps, values = store.read("eval/mean_reward")
    assert sorted(set(steps.tolist())) == [2_048, 4_096, 6_144, 8_192]
    means = values.reshape(4, 2).mean(axis=1)
    best = tegu.load(f"{agent.run.path}@best")
    assert best.steps == 2_048 * (1 + int(np.argmax(means)))
    assert best.evaluate(4).mean == pytest.approx(means.max(), rel=1e-6)
