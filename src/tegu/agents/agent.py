"""A trained agent: predict, evaluate, save, load."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from reprlib import repr as shorten
from typing import Any

import jax
import numpy as np

from tegu.acting.evaluation import EVALUATION, Evaluation, Evaluator, HostEvaluator, JaxEvaluator
from tegu.acting.policy import Policy
from tegu.agents.own_code import warn_of_nameless
from tegu.agents.packed import is_packed, unpacked
from tegu.agents.saved_source import fits, saved_source
from tegu.agents.selection import saved_agent
from tegu.algorithms.base import Algorithm, Learner
from tegu.algorithms.hyper_parameters import hyper_parameters, whole, whole_within
from tegu.algorithms.own import restored
from tegu.algorithms.registry import Choice
from tegu.core.errors import TeguError
from tegu.core.paths import path_of
from tegu.core.runtime import configure_jax
from tegu.core.schedule import Clock
from tegu.core.spec import EnvironmentSpec
from tegu.core.step import PyTree
from tegu.core.trees import from_arrays, to_arrays
from tegu.environments.adapters.base import HostEnvironments
from tegu.environments.games.base import Game
from tegu.environments.make import Source
from tegu.nn.description import describe
from tegu.runs import Run, checkpoint, schema
from tegu.spaces.bounds import to_bounds
from tegu.spaces.data import from_data, to_data
from tegu.spaces.features import zeros
from tegu.spaces.observations import kept, plain


class Agent:
    """A trained agent: an algorithm and the learner of each seed."""

    def __init__(
        self,
        algorithm: Algorithm,
        spec: EnvironmentSpec,
        learners: Learner,
        seeds: tuple[int, ...],
        steps: int,
        source: Source | None = None,
        run: Run | None = None,
        total: int | None = None,
    ):
        """``learners`` has a leading axis of seeds; ``steps`` of ``total`` (all) were trained; ``source`` is needed to
        evaluate."""
        self.algorithm, self.spec, self.seeds, self.source, self.run = algorithm, spec, seeds, source, run
        self._random = np.random.default_rng(seeds[0])
        self._evaluators: dict[tuple[int, bool], Evaluator] = {}  # compiled, by episodes and determinism
        self.now(learners, steps, steps if total is None else total)

    def now(self, learners: Learner, steps: int, total: int) -> None:
        """Go on with what was learned after ``steps`` of ``total``."""
        self.learners, self.steps, self.total = learners, steps, total
        self._leaves: dict[int, list[jax.Array]] = {}  # of the learners that acted, by index

    def __repr__(self) -> str:
        name, many = type(self.algorithm).__name__, len(self.seeds)
        return f"<{name} on {self.spec.id}, {self.steps:,} steps, {many} seed{'s' * (many > 1)}>"

    @property
    def clock(self) -> Clock:
        """How far training had come: schedules are as they were then."""
        return Clock.of(self.steps, self.total)

    def learner(self, index: int = 0) -> Learner:
        """What the ``index``-th seed has learned."""
        return jax.tree.map(lambda leaf: leaf[self._known(index)], self.learners)

    def predict(
        self,
        observation: PyTree,
        state: PyTree = None,
        episode_start: Any = None,
        deterministic: bool = True,
        *,
        index: int = 0,
    ) -> tuple[Any, PyTree]:
        """The action for one observation, or for a batch of them, and the policy's state, as in Stable-Baselines3.

        The action lies in the action space. ``index`` chooses among the seeds.
        """
        template = zeros(self.spec.observation_space)
        observation = plain(observation)
        batched = self._is_batch(observation, template)
        given = jax.tree.map(lambda zero, leaf: kept(leaf, zero.dtype), template, observation)
        given = given if batched else jax.tree.map(lambda leaf: leaf[None], given)
        index = self._known(index)
        if index not in self._leaves:
            self._leaves[index] = jax.tree.leaves(self.learner(index))
        leaves, n = self._leaves[index], len(jax.tree.leaves(given)[0])
        words = self._random.integers(2**32, size=2, dtype=np.uint32)
        begins = np.ones(n, bool) if state is None else np.broadcast_to(np.asarray(episode_start, bool), n)
        memory = self.policy.memory(leaves, jax.random.key(0), n) if state is None else state
        decision = self.policy.act(leaves, given, memory, begins, words, self.clock, explore=not deterministic)
        action = to_bounds(self.spec.action_space, decision.action)
        memory = decision.memory if jax.tree.leaves(decision.memory) else None
        return action if batched else jax.tree.map(lambda leaf: leaf[0], action), memory

    def evaluate(self, episodes: int = 100, *, deterministic: bool = True) -> Evaluation:
        """Returns and lengths of fresh episodes, ``[seeds, episodes]``, that training never saw.

        Board games are played against random moves.
        """
        return self.evaluator(episodes, deterministic=deterministic)(self.learners, self.clock)

    def evaluator(self, episodes: int, *, deterministic: bool) -> Evaluator:
        """What plays so many fresh episodes with each seed's learner; made once."""
        episodes = whole_within("episodes", episodes, 1, schema.MOST_AT_ONCE)
        if self.source is None:
            raise TeguError("this agent has no environment: load its run, or pass environment= to tegu.load")
        if not isinstance(deterministic, bool | np.bool_):
            raise TeguError(f"deterministic must be True or False, got {deterministic!r}")
        wanted = episodes, bool(deterministic)
        if wanted not in self._evaluators:
            given = self.seeds, episodes, deterministic
            if self.source.native is not None:
                self._evaluators[wanted] = JaxEvaluator(self.algorithm, self.source.native, *given)
            else:
                n_envs = 1 if self.source.single else min(episodes, 8)
                make = partial(self.environments, n=n_envs)
                self._evaluators[wanted] = HostEvaluator(self.policy, make, *given)
        return self._evaluators[wanted]

    def prepare(self, episodes: int, learners: Learner) -> None:
        """Compile an evaluation in JAX by playing it with ``learners``, who may have learned nothing yet."""
        evaluator = self.evaluator(episodes, deterministic=True)
        if isinstance(evaluator, JaxEvaluator):
            evaluator.play(learners, self.clock)

    def environments(self, seed: int, n: int) -> HostEnvironments:
        """Environments of the host for evaluation, with a randomness that training does not use."""
        assert self.source is not None
        return self.source.environments([(seed, EVALUATION, i) for i in range(n)])

    @cached_property
    def policy(self) -> Policy:
        """The compiled policy."""
        return Policy(self.algorithm, self._shapes)

    @cached_property
    def network(self) -> str:
        """Architecture and number of parameters of the networks, in one line; empty if there are none."""
        return describe(self.algorithm.networks(self._shapes))

    @cached_property
    def _shapes(self) -> Learner:
        """Of one seed's learner."""
        return jax.eval_shape(partial(self.algorithm.init, spec=self.spec), jax.random.key(0))

    def save(self, path: str | Path) -> Path:
        """Write the agent to the folder ``path``, whole or not at all."""
        path = path_of(path, "path", "a folder to write")
        warn_of_nameless(self.algorithm, self.source)
        saved = facts(self.algorithm, self.spec, self.seeds, self.source) | {"total": self.total}
        checkpoint.save(path.resolve(), self.steps, {"learner": to_arrays(self.learners)}, saved, keep=1)
        return path

    def _known(self, index: Any) -> int:
        """The index of a seed. JAX would take the last one for all that are too large."""
        index, n = whole(index, "index"), len(self.seeds)
        if not -n <= index < n:
            raise TeguError(f"index must be from 0 to {n - 1}, one for each seed, got {index}")
        return index

    def _is_batch(self, observation: PyTree, template: PyTree) -> bool:
        """Whether an observation has a batch axis; says so clearly when its shape fits neither way."""
        try:
            ranks = jax.tree.leaves(jax.tree.map(lambda zero, leaf: np.ndim(leaf) - zero.ndim, template, observation))
            fits = jax.tree.map(
                lambda zero, leaf: np.shape(leaf)[np.ndim(leaf) - zero.ndim :] == zero.shape, template, observation
            )
        except (ValueError, TypeError) as error:
            raise TeguError(
                f"expected an observation of {self.spec.observation_space}, got {type(observation).__name__}: {error}"
            ) from error
        if set(ranks) not in ({0}, {1}) or not all(jax.tree.leaves(fits)):
            shapes = jax.tree.map(np.shape, observation)
            raise TeguError(
                f"expected an observation (or a batch) of {self.spec.observation_space}, got shape {shapes}"
            )
        arrays = jax.tree.leaves(jax.tree.map(lambda zero, leaf: np.asarray(leaf), template, observation))
        if odd := [array for array in arrays if array.dtype.kind not in "biuf"]:
            raise TeguError(
                f"expected an observation of {self.spec.observation_space}, got what is no number: "
                f"{shorten(odd[0].tolist())}"
            )
        return ranks[0] == 1


def facts(algorithm: Algorithm, spec: EnvironmentSpec, seeds: tuple[int, ...], source: Source | None) -> dict[str, Any]:
    """What a checkpoint must say so that its arrays can be used: plain data, no code."""
    origin = {"backend": source.backend, "environment_options": source.options} if source is not None else {}
    return origin | {
        "algorithm": algorithm.name,
        "hyper_parameters": hyper_parameters(algorithm),
        "environment": spec.id,
        "observation_space": to_data(spec.observation_space),
        "action_space": to_data(spec.action_space),
        "n_envs": spec.n_envs,
        "agents": list(spec.agents),
        "seeds": list(seeds),
    }


def load(
    path: str | Path | Run,
    *,
    environment: Any = None,
    algorithm: Choice | None = None,
    network: Callable[..., Any] | str | None = None,
    folder: str | Path = "runs",
) -> Agent:
    """Load an agent: a folder that ``Agent.save`` wrote, or a run by its folder or name, such as ``"last"``.

    ``"last@best"`` is the best agent that ``eval_every`` found, ``"last@step=1M"`` the first that ``snapshot_every``
    kept after so many steps. Nothing but data is read.
    Your own code must be passed again, under the name that was saved: ``environment`` (needed to evaluate),
    ``algorithm`` (a class or ``module:Class``) and ``network`` (a function or ``module:function``).
    """
    configure_jax()
    if not isinstance(path, Run):
        path = path_of(path, "path", "a folder, or the name of a run")
        if is_packed(path):  # a model of tegu.sb3
            with unpacked(path) as inside:
                return load(inside, environment=environment, algorithm=algorithm, network=network)
    run, saved = saved_agent(path, folder)
    for reason in saved.skipped:
        warnings.warn(f"a newer checkpoint is skipped: {reason}", stacklevel=2)
    try:
        known = schema.checked(saved.state, schema.AGENT | schema.AGENT_OPTIONAL, required=schema.AGENT)
        found = restored(
            known["algorithm"],
            known["hyper_parameters"],
            run.name if run is not None else str(path),
            algorithm=algorithm,
            network=network,
        )
        spaces = from_data(known["observation_space"]), from_data(known["action_space"])
        spec = EnvironmentSpec(known["environment"], *spaces, known["n_envs"], tuple(known["agents"]))
        seeds = tuple(known["seeds"])
    except (KeyError, TypeError, ValueError) as error:
        raise TeguError(f"{saved.path} does not hold an agent: {error}") from error
    source = saved_source(spec.id, run.settings if run is not None else known, environment)
    if source is not None and not fits(source, spec):
        if environment is not None:
            raise TeguError(f"{source.id} does not have the observations and actions that the agent was trained with")
        source = None  # of the same name, but with other options
    if source is not None:
        if isinstance(source.native, Game):
            spec = replace(spec, observation_space=source.native.observation_space)
        spec = replace(spec, model=source.native, reward=source.reward_function() if found.reads_reward else None)
    shapes = jax.eval_shape(
        lambda keys: jax.vmap(lambda key: found.init(key, spec))(keys),
        jax.random.split(jax.random.key(0), len(seeds)),
    )
    arrays = saved.blobs.get("learner", {})
    learners = from_arrays(shapes, arrays, str(saved.path))
    checkpoint.check_finite(saved)
    planned = run.settings.get("steps", saved.step) if run is not None else saved.step
    total = known.get("total", planned)
    return Agent(found, spec, learners, seeds, saved.step, source, run, total)
