"""``python -m benchmarks.gpu_go``: Go 9x9 on a GPU, in pieces of less than ten minutes.

First how fast things are: random games, the network alone, and searches. Then a training by self-play, which stops
after ``--limit`` seconds and goes on with the next call. After each piece the figures are written. How strong the
result is say evaluations against a search without a network; and, where GNU Go is installed, ``tegu arena`` with the
run. Without a GPU everything runs on the CPU, for which ``--toy`` is the size.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import execution, machine
from benchmarks.__main__ import QUICK_RESULTS, RESULTS
from benchmarks.execution import ROOT, BenchmarkError
from benchmarks.gpu import Training, accelerator, parser, run, variables

_NETWORK = {"network": "fully_conv", "width": 64, "blocks": 6}
_RATES: dict[str, tuple[str, dict[str, Any]]] = {
    "random games": ("go.py", {"side": "ours", "size": 9, "superko": False, "batch": 16_384, "steps": 20_000_000}),
    "search": (
        "search.py",
        {"side": "tegu", "game": "go-9x9", **_NETWORK, "batch": 1024, "simulations": 64, "searches": 20},
    ),
}
_TOY_RATES: dict[str, tuple[str, dict[str, Any]]] = {
    "random games": ("go.py", {"side": "ours", "size": 3, "superko": False, "batch": 2, "steps": 256}),
    "search": (
        "search.py",
        {"side": "tegu", "game": "go-5x5", "network": "fully_conv", "width": 4, "blocks": 1}
        | {"batch": 2, "simulations": 4, "searches": 2},
    ),
}
_OPTIONS = (
    "--network fully_conv --width 64 --blocks 6 --n-envs 1024 --train-freq 32768 --gradient-steps 64 --batch-size 4096 "
    "--buffer-size 1048576 --simulations 32 --eval-every 2000000 --eval-episodes 32 --opponents mcts:200"
)
_TOY = (
    "--network fully_conv --width 4 --blocks 1 --n-envs 2 --train-freq 64 --gradient-steps 1 --batch-size 8 "
    "--buffer-size 256 --simulations 2 --log-interval 64"
)


def trainings(_: int, toy: bool) -> list[Training]:
    """AlphaZero by self-play, with one seed as there is no target."""
    board, steps, options = ("5x5", 256, _TOY) if toy else ("9x9", 100_000_000, _OPTIONS)
    return [Training(board, f"go-{board}", "alphazero", 0, steps, tuple(options.split()), None)]


def rates(given: argparse.Namespace) -> None:
    """Measure what was not measured yet, and write it down."""
    output = ROOT / (given.output or (QUICK_RESULTS if given.toy else RESULTS))
    output.mkdir(parents=True, exist_ok=True)
    file = output / "gpu-go-rates.json"
    done: dict[str, Any] = json.loads(file.read_text())["rates"] if file.exists() else {}
    about = {"machine": machine.machine() | {"accelerator": accelerator()}, "versions": machine.versions()}
    about |= {"command": machine.command("benchmarks.gpu_go"), "commit": machine.commit()}
    for name, (program, settings) in (_TOY_RATES if given.toy else _RATES).items():
        if name in done:
            continue
        print(name, flush=True)
        with tempfile.TemporaryDirectory(prefix="tegu-gpu-go-") as folder:
            done[name] = settings | measured(program, settings, Path(folder)) | about
        print(f"  {done[name]['rate']:,.0f} a second", flush=True)
        file.write_text(json.dumps({"rates": done}, indent=1) + "\n")


def measured(program: str, settings: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """What a worker says."""
    command = [sys.executable, str(ROOT / "benchmarks/workers" / program), json.dumps({**settings, "seed": 0})]
    return execution.run(command, folder, variables(folder))["result"]


def main() -> int:
    given = parser("gpu_go", "Go 9x9 on a GPU.", "9x9-alphazero").parse_args()
    began = time.monotonic()
    try:
        rates(given)
    except BenchmarkError as error:
        print(f"  failed: {error}", flush=True)
        return 1
    given.limit = max(given.limit - (time.monotonic() - began), 0.0)
    return run("gpu-go", given, trainings(given.seeds, given.toy))


if __name__ == "__main__":
    raise SystemExit(main())
