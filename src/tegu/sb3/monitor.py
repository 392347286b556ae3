"""Stable-Baselines3's ``Monitor``: the returns and lengths of episodes, and the csv files that it writes."""

import csv
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from tegu.core.errors import TeguError
from tegu.sb3.errors import ArgumentError

ENDING = "monitor.csv"


class EpisodeError(TeguError, RuntimeError):
    """An environment is used in an order that ``Monitor`` does not allow."""


class LoadMonitorResultsError(TeguError):
    """There are no monitor files."""


class Monitor(gymnasium.Wrapper):
    """Adds ``info["episode"]`` to every last step: return ``r``, length ``l``, its own age in seconds ``t``.

    With a ``filename`` each episode becomes a line of ``<filename>.monitor.csv``, or of ``monitor.csv`` in it where it
    is a folder. ``reset_keywords`` must be given to ``reset``; they and the ``info_keywords`` of last infos are written
    beside the rest. ``allow_early_resets=False`` makes a reset within an episode an error.
    """

    def __init__(
        self,
        env: gymnasium.Env,
        filename: str | Path | None = None,
        allow_early_resets: bool = True,
        reset_keywords: tuple[str, ...] = (),
        info_keywords: tuple[str, ...] = (),
        override_existing: bool = True,
    ):
        super().__init__(env)
        self.allow_early_resets = allow_early_resets
        self.reset_keywords, self.info_keywords = reset_keywords, info_keywords
        self.t_start = time.time()
        self.results_writer: ResultsWriter | None = None
        if filename is not None:
            header = {"t_start": self.t_start, "env_id": env.spec.id if env.spec is not None else None}
            self.results_writer = ResultsWriter(
                filename, header, extra_keys=(*reset_keywords, *info_keywords), override_existing=override_existing
            )
        self.needs_reset = True
        self.rewards: list[float] = []  #: of the running episode
        self.episode_returns: list[float] = []
        self.episode_lengths: list[int] = []
        self.episode_times: list[float] = []
        self.total_steps = 0
        self._given: dict[str, Any] = {}  # the reset keywords of the running episode

    def reset(self, **arguments: Any) -> tuple[Any, dict[str, Any]]:
        if not self.allow_early_resets and not self.needs_reset:
            raise EpisodeError(
                "Tried to reset an environment before done: the Monitor was made with allow_early_resets=False"
            )
        for name in self.reset_keywords:
            if arguments.get(name) is None:
                raise ArgumentError(f"Expected you to pass keyword argument {name} into reset")
            self._given[name] = arguments[name]
        self.rewards, self.needs_reset = [], False
        return self.env.reset(**arguments)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        if self.needs_reset:
            raise EpisodeError("Tried to step environment that needs reset")
        observation, reward, terminated, truncated, info = self.env.step(action)
        self.rewards.append(float(reward))
        self.total_steps += 1
        if terminated or truncated:
            self.needs_reset = True
            info = {**info, "episode": self._ended(info)}
        return observation, reward, terminated, truncated, info

    def close(self) -> None:
        super().close()
        if self.results_writer is not None:
            self.results_writer.close()

    def get_total_steps(self) -> int:
        return self.total_steps

    def get_episode_rewards(self) -> list[float]:
        return self.episode_returns

    def get_episode_lengths(self) -> list[int]:
        return self.episode_lengths

    def get_episode_times(self) -> list[float]:
        """Seconds from the monitor's beginning to the end of each episode."""
        return self.episode_times

    def _ended(self, info: dict[str, Any]) -> dict[str, Any]:
        """Remember and write the episode that has ended; what becomes of its ``info``."""
        seconds = round(time.time() - self.t_start, 6)
        episode = {"r": round(sum(self.rewards), 6), "l": len(self.rewards), "t": seconds}
        self.episode_returns.append(sum(self.rewards))
        self.episode_lengths.append(len(self.rewards))
        self.episode_times.append(seconds)
        if missing := [name for name in self.info_keywords if name not in info]:
            raise ArgumentError(f"Monitor: the last info has no {missing[0]}, one of info_keywords")
        episode |= {name: info[name] for name in self.info_keywords}
        if self.results_writer is not None:
            self.results_writer.write_row({**episode, **self._given})
        return episode


class ResultsWriter:
    """Writes episodes as csv, after a first line of facts as JSON."""

    def __init__(
        self,
        filename: str | Path = "",
        header: dict[str, Any] | None = None,
        extra_keys: Sequence[str] = (),
        override_existing: bool = True,
    ):
        path = Path(filename)
        if not path.name.endswith(ENDING):
            path = path / ENDING if path.is_dir() else path.with_name(f"{path.name}.{ENDING}")
        path.parent.mkdir(parents=True, exist_ok=True)
        new = override_existing or not path.exists()
        self._file = path.open("w" if override_existing else "a", newline="\n")
        self._rows = csv.DictWriter(self._file, ("r", "l", "t", *extra_keys))
        if new:
            self._file.write(f"#{json.dumps(header or {})}\n")
            self._rows.writeheader()
        self._file.flush()

    def write_row(self, episode: dict[str, Any]) -> None:
        self._rows.writerow(episode)
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class Results:
    """Episodes of monitor files as columns: ``results["r"]`` are NumPy arrays ``[n]``."""

    def __init__(self, columns: dict[str, np.ndarray]):
        self._columns = columns
        self.columns = list(columns)
        self.index = range(len(next(iter(columns.values()))))

    @property
    def empty(self) -> bool:
        return not self.index

    def __getitem__(self, name: str) -> np.ndarray:
        return self._columns[name]

    def __len__(self) -> int:
        return len(self.index)


def get_monitor_files(path: str | Path) -> list[str]:
    """The monitor files in a folder."""
    return [str(file) for file in sorted(Path(path).glob(f"*{ENDING}"))]


def load_results(path: str | Path) -> Results:
    """The episodes of all monitor files in a folder, in the order of their ends: ``index``, ``r``, ``l``, ``t``..."""
    files = get_monitor_files(path)
    if not files:
        raise LoadMonitorResultsError(f"no monitor files of the form *{ENDING} found in {path}")
    names: list[str] = ["r", "l", "t"]
    rows: list[tuple[float, dict[str, str]]] = []
    for file in files:
        with Path(file).open(newline="") as lines:
            first = lines.readline()
            try:
                began = float(json.loads(first.removeprefix("#"))["t_start"])
            except (ValueError, KeyError, TypeError) as error:
                raise LoadMonitorResultsError(f"{file} is no monitor file: it begins with {first[:50]!r}") from error
            table = csv.DictReader(lines)
            rows += [(began, row) for row in table]
            names += [name for name in table.fieldnames or () if name not in names]
    rows.sort(key=lambda each: each[0] + float(each[1]["t"]))
    least = min((began for began, _ in rows), default=0.0)
    columns = {name: _column([row.get(name, "") for _, row in rows]) for name in names}
    offsets = np.array([began - least for began, _ in rows])
    return Results({"index": np.arange(len(rows)), **columns, "t": columns["t"] + offsets})


def is_wrapped(env: gymnasium.Env, wrapper_class: type[gymnasium.Wrapper]) -> bool:
    """Whether ``wrapper_class`` is among the wrappers of ``env``."""
    return unwrap_wrapper(env, wrapper_class) is not None


def unwrap_wrapper(env: gymnasium.Env, wrapper_class: type[gymnasium.Wrapper]) -> gymnasium.Wrapper | None:
    """The outermost ``wrapper_class`` among the wrappers of ``env``, or None."""
    return next((wrapper for wrapper in wrappers(env) if isinstance(wrapper, wrapper_class)), None)


def wrappers(env: gymnasium.Env) -> Iterator[gymnasium.Wrapper]:
    """The wrappers around an environment, outside in."""
    while isinstance(env, gymnasium.Wrapper):
        yield env
        env = env.env


def _column(values: list[str]) -> np.ndarray:
    """Numbers where all of them are, else text."""
    try:
        return np.array(values, float)
    except ValueError:
        return np.array(values)
