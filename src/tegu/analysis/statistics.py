"""What can be said from a few runs: means, interquartile means, intervals, and who beats whom. All seeded, in NumPy.

The unit of replication is a training run (a seed), as in Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge
of the Statistical Precipice", https://arxiv.org/abs/2108.13264.
"""

from statistics import NormalDist
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike

FEW = 3  #: with so few runs "bootstrap CIs underestimate the true 95% CIs" (Agarwal et al. 2021)
_BLOCK = 4_000_000  # resampled numbers held at once: 32 MB


class Interval(NamedTuple):
    """A confidence interval, and the number of runs or episodes behind it."""

    low: np.ndarray  #: float64, ``[]`` or ``[T]``; NaN where there is no interval
    high: np.ndarray
    n: int

    @property
    def few(self) -> bool:
        """Whether so few runs lie behind it that it is too narrow to be trusted."""
        return self.n <= FEW


class Statistic(Protocol):
    """What reduces one axis of an array to one number, as ``mean`` and ``iqm`` do."""

    def __call__(self, values: np.ndarray, axis: int = 0) -> np.ndarray: ...


def mean(values: ArrayLike, axis: int = 0) -> np.ndarray:
    """The mean over an axis. One NaN, a run that diverged, makes the result NaN."""
    return np.mean(np.asarray(values, np.float64), axis=axis)


def iqm(values: ArrayLike, axis: int = 0) -> np.ndarray:
    """The interquartile mean over an axis: of ``n`` values the ``floor(n / 4)`` lowest and highest are left out.

    Only whole values are trimmed, as by ``scipy.stats.trim_mean(values, 0.25)`` and so in Agarwal et al. 2021; of up
    to three values it is the mean. NaN as in ``mean``. Meant for many runs or tasks: with few runs of one task it
    hides the rare failure, and of success rates it is 0 below a quarter and 1 above three quarters.
    """
    ordered = np.sort(np.moveaxis(np.asarray(values, np.float64), axis, 0), axis=0)
    trimmed = len(ordered) // 4
    middle = ordered[trimmed : len(ordered) - trimmed].mean(axis=0)
    return np.where(np.isnan(ordered[-1]), np.nan, middle)  # NaN is sorted to the end, where it would be trimmed away


STATISTICS: dict[str, Statistic] = {"mean": mean, "iqm": iqm}


def bootstrap_interval(
    values: ArrayLike, statistic: Statistic = mean, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """The percentile bootstrap interval of a statistic over runs (Efron 1979).

    ``values`` is ``[N]``, a number per run, or ``[N, T]``, a curve per run; whole runs are drawn with replacement, so
    that a curve stays one curve. The result is ``[]`` or ``[T]``, NaN throughout if ``N <= 1``. With ten runs a 95 %
    interval holds the truth in about 90 % of cases; with three or fewer it is ``few`` and better not shown.
    """
    values = np.asarray(values, np.float64)
    n = len(values)
    if n <= 1:
        nothing = np.full(values.shape[1:], np.nan)
        return Interval(nothing, nothing, n)
    drawn = np.random.default_rng(seed).integers(n, size=(resamples, n))
    blocks = np.array_split(drawn, -(-resamples * values.size // _BLOCK))
    statistics = np.concatenate([statistic(values[block], axis=1) for block in blocks])
    low, high = np.quantile(statistics, _tails(confidence), axis=0)
    return Interval(low, high, n)


def episode_interval(returns: ArrayLike, confidence: float = 0.95) -> Interval:
    """Student's interval of the mean return ``[]`` of one agent over its evaluation episodes ``[E]``.

    It says how well these episodes measure this agent, and nothing about what another seed would have learned.
    """
    returns = np.asarray(returns, np.float64)
    n = len(returns)
    if n <= 1:
        return Interval(np.asarray(np.nan), np.asarray(np.nan), n)
    half_width = _student_t(_tails(confidence)[1], n - 1) * returns.std(ddof=1) / np.sqrt(n)
    return Interval(returns.mean() - half_width, returns.mean() + half_width, n)


def score_interval(scores: ArrayLike, confidence: float = 0.95) -> Interval:
    """Wilson's interval (1927) of the mean ``[]`` of independent scores ``[N]`` in [0, 1].

    It was made for wins and losses. Draws make scores vary less, so with them it is too wide rather than too narrow
    (Bhatia & Davis 2000: no variance in [0, 1] exceeds mean * (1 - mean)). All wins do not make it empty.
    """
    scores = np.asarray(scores, np.float64)
    n, z = len(scores), NormalDist().inv_cdf(_tails(confidence)[1])
    if n == 0:
        return Interval(np.asarray(np.nan), np.asarray(np.nan), n)
    mean, shrunk = scores.mean(), 1 + z**2 / n
    centre = (mean + z**2 / (2 * n)) / shrunk
    half_width = z * np.sqrt(mean * (1 - mean) / n + (z / (2 * n)) ** 2) / shrunk
    return Interval(centre - half_width, centre + half_width, n)


def probability_of_improvement(a: ArrayLike, b: ArrayLike) -> np.ndarray:
    """How likely a run of ``a`` beats one of ``b``; ties count half (Mann and Whitney 1947; Agarwal et al. 2021).

    ``a`` is ``[N]`` and ``b`` ``[M]``, or ``[N, T]`` and ``[M, T]`` for several tasks, which are not mixed: the result
    is ``[]`` or ``[T]``. NaN if any run of the task is NaN.
    """
    a, b = np.asarray(a, np.float64)[:, None], np.asarray(b, np.float64)[None]
    won = np.where(np.isnan(a) | np.isnan(b), np.nan, (a > b) + 0.5 * (a == b))
    return won.mean(axis=(0, 1))


def _tails(confidence: float) -> tuple[float, float]:
    """The two probabilities between which ``confidence`` lies."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}")
    return (1 - confidence) / 2, (1 + confidence) / 2


def _student_t(probability: float, freedom: int) -> float:
    """The quantile of Student's t: exact for 1 and 2 degrees of freedom, else to 1 % (Abramowitz & Stegun 26.7.5)."""
    if freedom == 1:
        return float(np.tan(np.pi * (probability - 0.5)))
    if freedom == 2:
        spread = 2 * probability - 1
        return float(spread * np.sqrt(2 / (1 - spread**2)))
    z = NormalDist().inv_cdf(probability)
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return sum(term / freedom**power for power, term in enumerate(terms))
