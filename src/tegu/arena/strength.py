"""How strong an agent has become, while it trains: matches against players who stay as they are."""

import warnings
from collections.abc import Sequence

import jax
import numpy as np

from tegu.agents.agent import Agent
from tegu.algorithms.base import Learner
from tegu.analysis.compare import ELO
from tegu.arena.base import Player
from tegu.arena.elo import ratings
from tegu.arena.match import play_match, points, round_robin
from tegu.arena.players import AgentPlayer
from tegu.core.errors import TeguError
from tegu.environments.games.base import Game
from tegu.training.plan import Plan, spec_of
from tegu.training.trainer import Progress


class StrengthObserver:
    """Every so many steps each seed's agent plays a match against each of some players, greedily.

    Logged are its score against each, as ``eval/score/NAME``, and ``eval/elo`` with the ends of its 95 % interval,
    ``eval/elo_low`` and ``eval/elo_high``: the difference to the first of the ``opponents``, from all these matches and
    those of the opponents with each other, which are played once. The openings are the same every time.
    """

    def __init__(self, plan: Plan, opponents: Sequence[Player], *, games: int = 20, openings: int | None = None):
        """``games`` of each match, an even number; ``openings`` is as in ``play_match``.

        Raises ``TeguError`` if the plan is not of a board game or evaluates nothing while training.
        """
        if not isinstance(plan.source.native, Game):
            raise TeguError(f"opponents are for board games, and {plan.source.id} is not one")
        if not plan.eval_every:
            raise TeguError("opponents are met every eval_every steps, which is not given")
        if games < 2 or games % 2:
            raise TeguError(f"games (--eval-episodes) must be an even number, two for each opening, got {games}")
        if not opponents:
            raise TeguError("expected at least one opponent, got none")
        names = [player.name for player in opponents]
        if twice := [name for name in names if names.count(name) > 1]:
            raise TeguError(f"opponents must differ by name, got {twice[0]} twice")
        self.every, self.game, self.opponents, self.games, self.openings = (
            plan.eval_every,
            plan.source.native,
            list(opponents),
            games,
            openings,
        )
        spec = spec_of(plan.source.id, self.game, plan.n_envs)
        self.agent = Agent(plan.algorithm, spec, None, plan.seeds, 0, plan.source)
        self.players = [AgentPlayer(self.agent, self.game, "agent", index=index) for index in range(len(plan.seeds))]
        self._among_opponents: np.ndarray | None = None

    def __call__(self, progress: Progress, learners: Learner) -> None:
        self.agent.now(learners, progress.steps, progress.total)
        try:
            rows = {seed: self.measure(player) for seed, player in zip(self.agent.seeds, self.players, strict=True)}
            if progress.run is not None:
                with progress.run.metrics() as store:
                    store.write(progress.steps, rows)
        except TeguError as error:  # a program that fails, a full disk
            warnings.warn(f"the strength is not known: {error}; training goes on", stacklevel=2)

    def measure(self, player: Player) -> dict[str, float]:
        """The metrics of one agent, by name."""
        key, n = jax.random.key(0), len(self.opponents)
        if self._among_opponents is None:
            matches = round_robin(self.game, self.opponents, self.games, key, self.openings) if n > 1 else {}
            self._among_opponents = points(matches, n)
        found = [play_match(self.game, player, other, self.games, key, self.openings) for other in self.opponents]
        won = np.zeros((n + 1, n + 1))
        won[:n, :n] = self._among_opponents
        won[n, :n] = [match.total.points for match in found]
        won[:n, n] = [match.total.games - match.total.points for match in found]
        elo, half_width = (values[n] for values in ratings(won, reference=0))
        scores = {f"eval/score/{match.names[1]}": match.score for match in found}
        return {
            ELO: float(elo),
            f"{ELO}_low": float(elo - half_width),
            f"{ELO}_high": float(elo + half_width),
            **scores,
        }
