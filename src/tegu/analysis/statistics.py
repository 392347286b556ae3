"""What can be said from a few runs: means, interquartile means, intervals, and who beats whom. All in NumPy.

The unit of replication is a training run (a seed), as in Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge
of the Statistical Precipice", https://arxiv.org/abs/2108.13264. The intervals are Student's and not the percentile
bootstrap's: of 2, 3 and 5 normal runs a 95 % bootstrap interval holds the truth in about 50, 75 and 84 % of cases,
Student's in 95 %.
"""

from collections.abc import Callable
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class Interval(NamedTuple):
    """A confidence interval, and the number of runs or episodes behind it."""

    low: np.ndarray  #: float64, ``[]`` or ``[T]``; NaN where there is no interval
    high: np.ndarray
    n: int


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


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """Student's interval (1908) of the mean over runs, or of one agent's over its evaluation episodes.

    ``values`` is ``[N]`` or ``[N, T]``, the result ``[]`` or ``[T]``: NaN throughout if ``N <= 1``. Over episodes it
    says how well they measure this agent, and nothing about what another seed would have learned.
    """
    values = np.asarray(values, np.float64)
    n = len(values)
    if n <= 1:
        return _no_interval(values)
    return _student(values.mean(axis=0), values.std(axis=0, ddof=1) / np.sqrt(n), n - 1, confidence, n)


def iqm_interval(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """The interval of the interquartile mean over runs, with winsorised variance (Tukey and McLaughlin 1963).

    Shapes are those of ``mean_interval``, and so is the result of up to three runs, of which ``iqm`` leaves out none.
    Of 4 to 10 normal runs a 95 % interval holds the truth in 93 % of cases.
    """
    values = np.sort(np.asarray(values, np.float64), axis=0)
    n = len(values)
    if n <= 1:
        return _no_interval(values)
    trimmed = n // 4
    kept = n - 2 * trimmed
    winsorised = np.clip(values, values[trimmed], values[n - trimmed - 1])
    error = winsorised.std(axis=0, ddof=1) * np.sqrt(n) / kept
    return _student(iqm(values), error, kept - 1, confidence, n)


STATISTICS: dict[str, tuple[Callable[..., np.ndarray], Callable[..., Interval]]] = {
    "mean": (mean, mean_interval),
    "iqm": (iqm, iqm_interval),
}  #: by name, with their intervals


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


def _student(centre: np.ndarray, error: np.ndarray, freedom: int, confidence: float, n: int) -> Interval:
    """The interval about ``centre``, NaN included, for its standard ``error``."""
    half_width = _student_t(_tails(confidence)[1], freedom) * error
    return Interval(centre - half_width, centre + half_width, n)


def _no_interval(values: np.ndarray) -> Interval:
    nothing = np.full(values.shape[1:], np.nan)
    return Interval(nothing, nothing, len(values))


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
