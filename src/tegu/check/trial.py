"""Random episodes in an environment on the host, whether it is Gymnasium's or PettingZoo's."""

from statistics import fmean
from typing import Any, NamedTuple, Protocol

import jax

from tegu.check.calls import Content, content
from tegu.check.findings import Facts, Findings, episode_facts
from tegu.core.step import PyTree, episode_ended


class StepResult(NamedTuple):
    """What a reset or a step came to, in clean types whatever was returned; by agent where there are several."""

    observation: PyTree
    reward: PyTree = 0.0
    terminated: PyTree = False
    truncated: PyTree = False


Episode = list[tuple[Any, Content]]  #: each action and the content of its outcome; a reset comes first


class Trial(Protocol):
    """An environment, every call of which is looked at."""

    findings: Findings
    limit: int | None  #: steps after which the loops cut an episode
    taken: int  #: steps so far, over all episodes
    seconds: float  #: that they took
    how_to_end: str  #: what to do where episodes never end
    how_to_repeat: str  #: what to do where the same seed gives something else

    def random_action(self, observation: PyTree) -> Any: ...
    def reset(self, seed: int, when: str = "") -> StepResult: ...
    def step(self, action: Any) -> StepResult: ...


def facts_of(trial: Trial, steps: int, seed: int) -> Facts:
    """Walk ``steps`` steps, begin from a few more seeds, then do the first episode again."""
    episode, facts = _walk(trial, steps, seed)
    (_, first), *_ = episode
    begins = "the same for 4 seeds"
    if any(content(trial.reset(other)) != first for other in range(seed + 1, seed + 4)):
        begins = "depends on the seed" if content(trial.reset(seed)) == first else "random, whatever the seed"
    return {
        "steps_per_second": round(trial.taken / trial.seconds),
        **facts,
        "first_observation": begins,
        "deterministic": "yes" if _repeats(trial, episode, seed) else "no",
    }


def _walk(trial: Trial, steps: int, seed: int) -> tuple[Episode, Facts]:
    """Returns the first episode, and facts about all of them."""
    outcome = trial.reset(seed)
    episode: Episode = [(None, content(outcome))]
    rewards: list[float] = []
    ended: list[bool] = []
    episodes = clock = 0
    for _ in range(steps):
        action = trial.random_action(outcome.observation)
        outcome = trial.step(action)
        clock += 1
        if episodes == 0:
            episode.append((action, content(outcome)))
        rewards.append(fmean(jax.tree.leaves(outcome.reward)))
        ended.append(bool(episode_ended(outcome.terminated, outcome.truncated)) or clock == trial.limit)
        if ended[-1]:
            episodes, clock = episodes + 1, 0
            outcome = trial.reset(seed + episodes, " after an episode")
    if trial.limit is None and episodes == 0:
        expected = f"terminated or truncated within {steps} steps"
        problem = "no episode ended, and there is no time limit"
        trial.findings.warning("step()", problem, expected, "neither", trial.how_to_end)
    return episode, episode_facts(rewards, ended)


def _repeats(trial: Trial, episode: Episode, seed: int) -> bool:
    """Whether the same seed and actions give the same once more, bit for bit."""
    for number, (action, before) in enumerate(episode):
        now = content(trial.step(action) if number else trial.reset(seed))
        different = [name for name in now if now[name] != before.get(name)]
        if different:
            trial.findings.warning(
                f"step() -> {different[0]}" if number else f"reset(seed={seed}) -> {different[0]}",
                "the same seed and actions give another result",
                "the same, bit for bit",
                f"a difference at step {number}" if number else "a difference in the first observation",
                f"{trial.how_to_repeat}; else a resumed run begins its unfinished episodes anew",
            )
            return False
    return True
