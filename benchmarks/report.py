"""The table: every figure in a results folder, in one page of Markdown."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.cases import CASES

SCORES, GENERAL, LADDER, DEFAULTS = "scores.json", "general-ppo.json", "ladder.json", "defaults.json"
GO_OPTIONS, TABULAR_PLANNING = "go-options.json", "tabular-planning.json"
VALUE_EXPANSION, MBMF, HIDE_AND_SEEK = "value-expansion.json", "mbmf.json", "hide-and-seek.json"
WORLD_MODELS, I2A = "world-models.json", "i2a.json"
_STUDIES = (
    GENERAL,
    DEFAULTS,
    LADDER,
    TABULAR_PLANNING,
    VALUE_EXPANSION,
    MBMF,
    WORLD_MODELS,
    I2A,
    HIDE_AND_SEEK,
    GO_OPTIONS,
)
_HOW = """\
Each measurement is a process of its own. The sides of a case run in turn, one at a time, every second round backwards;
nothing else should run on the machine. Figures are medians, with the least and the greatest in brackets. A ratio is
that of the medians; its brackets hold the least and the greatest over the pairs of a round. Rates are measured after a
warm-up of a tenth of the steps in which everything is compiled; all sides of a case then take the same number of
steps, up to a whole rollout, but for slow peers, which take fewer (`benchmarks/cases.py`). Processes are measured from
start to end. Seeds are the numbers of the rounds wherever a side can be told one. Everything runs on the CPU.

Threads: a peer runs with one thread or one per core, whichever was faster in a trial on a fifth of the steps before
the rounds (PyTorch's and OpenMP's threads; for XLA, `--xla_cpu_multi_thread_eigen=false` is the single thread). Tegu
runs as it comes. How many cores a side kept busy is in the second table.
"""


def write(folder: Path) -> None:
    """Write ``README.md`` from the JSON files in ``folder``."""
    files = [folder / f"{case.name}.json" for case in CASES]
    cases = [json.loads(file.read_text()) for file in files if file.exists()]
    scores = json.loads((folder / SCORES).read_text()) if (folder / SCORES).exists() else None
    parts = ["# Benchmark results", *(_speed(cases) if cases else []), *(_scores(scores) if scores else [])]
    studies = [json.loads((folder / name).read_text()) for name in _STUDIES if (folder / name).exists()]
    parts += [part for study in studies for part in _study(study)]
    parts += _surroundings([*cases, *([scores] if scores else []), *studies])
    (folder / "README.md").write_text("\n\n".join(part.strip("\n") for part in parts) + "\n")


def _speed(cases: list[dict[str, Any]]) -> list[str]:
    header = ("case", "unit", "Tegu", "peer", "ratio", "target", "met")
    rows = [_row(case, row) for case in cases for row in case["rows"]]
    notes = [f"- **{case['case']}**: {case['title']}. {' '.join(case['notes'])}" for case in cases]
    return [_HOW, table(header, rows), "## The cases", "\n".join(notes), *_sides(cases)]


def _row(case: Mapping[str, Any], row: Mapping[str, Any]) -> tuple[str, ...]:
    ours, peer, ratio = row["ours"], row["peer"], row["ratio"]
    met = {None: "", True: "yes", False: "no"}[row["met"]]
    return (
        case["case"],
        case["unit"],
        f"{ours['name'].removeprefix('tegu, ')}: {_spread(ours)}" if ours["name"] != "tegu" else _spread(ours),
        f"{peer['name']}: {_spread(peer)}",
        f"{number(ratio['of_medians'])} ({number(ratio['min'])}-{number(ratio['max'])}), {ratio['of']}",
        row["target"] or "",
        met,
    )


def _sides(cases: list[dict[str, Any]]) -> Iterable[str]:
    header = ("case", "side", "threads", "trials", "cores busy", "compilation, s", "whole process, s", "greedy score")
    rows = []
    for case in cases:
        for side in case["sides"]:
            details, taken = side["details"], side["measurements"]
            busy = [found["result"].get("cores_busy", found["process_cores_busy"]) for found in taken]
            trials = [f"{threads}: {number(value)}" for threads, value in side["thread_trials"].items()]
            reached = f", 475 reached {details['reached']}" if "reached" in details else ""
            rows.append(
                (
                    case["case"],
                    side["name"],
                    str(side["threads"] or "as it comes"),
                    ", ".join(trials),
                    number(sum(busy) / len(busy)),
                    _spread(details["compilation_seconds"]) if "compilation_seconds" in details else "within",
                    number(sorted(found["process_seconds"] for found in taken)[len(taken) // 2]),
                    _spread(details["score"]) + reached if "score" in details else "",
                )
            )
    explained = (
        "Compilation is what the warm-up took beyond the time of its steps. Trials are the figures by number of "
        "threads, in the case's unit. A side that works in one thread keeps one core busy; much less means that "
        "something else was running."
    )
    return "## The sides", explained, table(header, rows)


def _scores(scores: Mapping[str, Any]) -> list[str]:
    header = (
        "environment",
        "algorithm",
        "steps",
        "seeds",
        "mean",
        "std over seeds",
        "95% interval",
        "besides",
        "training, s",
        "on",
    )
    rows = []
    for case in scores["cases"]:
        alone = len(case["per_seed"]) == 1
        rows.append(
            (
                case["environment"],
                case["algorithm"],
                f"{case['steps']:,}",
                str(len(case["per_seed"])),
                number(case["mean"]),
                "" if alone else number(case["std"]),
                " to ".join(bounds(case["interval"])),
                _besides(case),
                number(case["seconds"]),
                f"{case['date'][:10]}, {case['commit']}",
            )
        )
    explained = (
        "Greedy scores of fresh episodes after training with the preset, over seeds; the interval is Student's, of "
        "the mean over seeds. Of several agents it is the mean of their returns; board games are played against "
        "random moves. Optimal: the greedy policy's exact value from the start equals that of value iteration. Never "
        "loses: on either side, against every reply there is. Mistakes: moves that turn a won position into a draw or "
        "a loss, or a drawn one into a loss, by an exact solver (`benchmarks/connect_four.csv`). Training is that of "
        "all seeds together, compilation included; with `--runs` a finished run of the same settings stands for a new "
        "one, and the commit is the one that scored."
    )
    crossed = [part for case in scores["cases"] if "crossplay" in case for part in _crossplay(case)]
    return ["## Learning scores", explained, table(header, rows), *crossed]


def _besides(case: Mapping[str, Any]) -> str:
    """What a case was judged by besides its score."""
    found = []
    if training := case.get("while_training"):
        found.append(f"while training {number(training['mean'])}")
    if optimal := case.get("optimal"):
        found.append(f"{sum(optimal)} of {len(optimal)} optimal")
    if perfect := case.get("perfect"):
        losses = perfect["losses"]
        never = sum(not any(sides) for sides in losses)
        found.append(f"{never} of {len(losses)} never lose, with {perfect['simulations']} simulations")
    for match in case.get("matches", []):
        total, (player, opponent) = match["total"], match["players"]
        begun = f"after {match['openings']} random moves" if match["openings"] else "from the empty board"
        found.append(
            f"{player} against {opponent} {begun}: {total['wins']} won, {total['draws']} drawn, {total['losses']} lost"
        )
    for phase, counts in case.get("mistakes", {}).get("phases", {}).items():
        share = fmean(counts["mistakes"]) / counts["positions"]
        found.append(f"mistakes in the {phase} {share:.1%} of {counts['positions']:,} positions")
    for name, measure in case.get("measures", {}).items():
        if name.endswith("/end"):
            found.append(f"{name} {number(measure['mean'])}")
    return "; ".join(found)


def _crossplay(case: Mapping[str, Any]) -> list[str]:
    """A table of who played whom, of one world."""
    crossed = case["crossplay"]
    teams, cells = list(crossed["teams"]), crossed["cells"]
    quantities = [name for name, value in cells[0].items() if isinstance(value, dict) and "mean" in value]
    rows = [
        (
            *(cell["by"][team] for team in teams),
            *(
                f"{number(cell[name]['mean'])} ({number(cell[name]['interval'][0])} to "
                f"{number(cell[name]['interval'][1])})"
                for name in quantities
            ),
        )
        for cell in cells
    ]
    title = f"### Cross-play on {case['environment']}"
    explained = (
        f"The mean over {crossed['episodes']:,} episodes of each of {len(case['per_seed'])} pairs of seeds, and its "
        "95% interval over pairs (a percentile bootstrap, where scored before 2026-11-26)."
    )
    return [title, explained, table((*teams, *quantities), rows)]


def _study(study: Mapping[str, Any]) -> list[str]:
    """Tables of scores over seeds."""
    parts = [f"## {study['case'][0].upper()}{study['case'][1:]}", study["explained"]]
    for name, found in study["tables"].items():
        rows = [(label, number(one["mean"]), *(bounds(one["interval"]) or ("", ""))) for label, one in found.items()]
        parts.append(table((name, "mean", "95% interval, from", "to"), rows))
    return parts


def _surroundings(records: list[dict[str, Any]]) -> list[str]:
    """Where the figures come from, once for all that were measured under the same circumstances."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        same = {name: record[name] for name in ("machine", "versions", "commit", "command")}
        groups.setdefault(json.dumps(same), []).append(record)
    return ["## Measured on", *(_group(group) for group in groups.values())]


def _group(group: Sequence[Mapping[str, Any]]) -> str:
    first, dates = group[0], sorted(record["date"] for record in group)
    about = first["machine"]
    lines = [
        f"- {', '.join(record['case'] for record in group)}",
        f"- {about['processor']}, {about['cores']} cores, {about['memory_gib']} GiB, {about['system']}",
        f"- from {dates[0]} to {dates[-1]}; load average at the start {first['load_before']:.1f}",
        f"- `{first['command']}` at commit {first['commit']}",
    ]
    for side, found in first["versions"].items():
        if found:
            lines.append(f"- {side}: " + ", ".join(f"{name} {version}" for name, version in found.items()))
    return "\n".join(lines)


def _spread(values: Mapping[str, float]) -> str:
    return f"{number(values['median'])} ({number(values['min'])}-{number(values['max'])})"


def bounds(interval: Sequence[float] | None) -> tuple[str, ...]:
    """From where to where; nothing of a single seed, which has no interval."""
    return tuple(map(number, interval or ()))


def number(value: float) -> str:
    """Three digits or more."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
