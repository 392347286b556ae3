"""What is measured: every case as data. A case has sides, which are run in turn, and rows, which compare two sides."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

OURS, PEERS = Path(".venv"), Path(".venv-bench")  #: virtual environments, from the repository root


@dataclass(frozen=True)
class Side:
    """One program. Each measurement is a process of its own."""

    name: str
    command: tuple[
        str | Path, ...
    ]  #: paths are relative to the repository root; ``{seed}`` becomes the repeat's number
    settings: Mapping[str, Any] | None = None  #: handed to a worker as JSON, with ``seed`` and ``threads`` added
    tries_threads: bool = False  #: measure with one thread and with one per core beforehand, and keep the faster
    cache: Literal["off", "cold", "warm"] = (
        "off"  #: Tegu's compilation cache: none, a fresh one each time, or a filled one
    )


@dataclass(frozen=True)
class Target:
    """A bound on one figure of a row."""

    figure: Literal["ratio", "ours"]
    sign: Literal[">=", "<="]
    bound: float

    def met(self, ratio: float | None, ours: float) -> bool:
        value = ours if self.figure == "ours" or ratio is None else ratio
        return value >= self.bound if self.sign == ">=" else value <= self.bound


@dataclass(frozen=True)
class Row:
    """A line of the table: two sides by name and their ratio."""

    ours: str
    peer: str
    target: Target | None = None
    ratio: Literal["ours / peer", "peer / ours"] = "ours / peer"


@dataclass(frozen=True)
class Case:
    """Sides measured in turn. In the unit ``s`` the figure is a whole process's time, else the rate that it reports."""

    name: str
    title: str
    unit: Literal["steps/s", "updates/s", "simulations/s", "GFLOP/s", "s"]
    sides: tuple[Side, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = field(default=())


def worker(name: str, file: str, venv: Path, *, tries_threads: bool = False, **settings: Any) -> Side:
    """A side that runs one of our scripts in ``benchmarks/workers``."""
    command = (venv / "bin/python", Path("benchmarks/workers") / file)
    return Side(name, command, settings, tries_threads)


def tegu_train(name: str, *arguments: str, cache: Literal["cold", "warm"]) -> Side:
    """A side that is the command a person would type."""
    return Side(name, (OURS / "bin/tegu", "train", *arguments, "--json", "--quiet"), cache=cache)


def at_least(bound: float, figure: Literal["ratio", "ours"] = "ratio") -> Target:
    return Target(figure, ">=", bound)


def at_most(bound: float, figure: Literal["ratio", "ours"] = "ratio") -> Target:
    return Target(figure, "<=", bound)


_PPO = {"n_steps": 128, "batch_size": 256, "n_epochs": 10}
_DQN = {
    "learning_rate": 1e-4,
    "buffer_size": 1_000_000,
    "learning_starts": 100,
    "batch_size": 32,
    "train_freq": 4,
    "gradient_steps": 1,
    "target_update_interval": 10_000,
}
_ZOO_CARTPOLE = {
    "environment": "CartPole-v1",
    "n_envs": 8,
    "steps": 100_000,
    "n_steps": 32,
    "batch_size": 256,
    "gae_lambda": 0.8,
    "gamma": 0.98,
    "n_epochs": 20,
    "learning_rate": "lin_0.001",
    "clip_range": "lin_0.2",
}
_ARCHITECTURES = {"ppo": {"pi": [64, 64], "vf": [64, 64]}, "dqn": [64, 64]}
_VECTORISED = (
    "Stable-Baselines3 and SBX step their environments in a DummyVecEnv (one process; faster for CartPole than a "
    "process per environment), without Gymnasium's environment checker, which ours leaves out too."
)


def _against_peers(
    case: str,
    title: str,
    loop: str,
    algorithm: str,
    n_envs: int,
    steps: int,
    hyper: dict[str, Any],
    rows: tuple[Row, ...],
) -> Case:
    """CartPole-v1 with one algorithm: ours in one of its loops, Stable-Baselines3, SBX."""
    shared: dict[str, Any] = {"algorithm": algorithm, "n_envs": n_envs, "steps": steps, "hyper_parameters": hyper}
    peers = {**shared, "net_arch": _ARCHITECTURES[algorithm]}
    sides = (
        worker("tegu", "ours.py", OURS, loop=loop, environment="CartPole-v1", **shared),
        worker("SB3", "peers.py", PEERS, tries_threads=True, library="stable_baselines3", **peers),
        worker("SBX", "peers.py", PEERS, tries_threads=True, library="sbx", **peers),
    )
    notes = {
        "ppo": "n_envs 8, n_steps 128, batch_size 256, n_epochs 10, networks 64x64 (tanh), all else SB3's defaults.",
        "dqn": "SB3's defaults: one environment, train_freq 4, batch_size 32, network 64x64; for SBX, whose defaults "
        "differ, net_arch and target_update_interval are set to the same. SBX does not clip gradients here, ours and "
        "SB3 do.",
    }
    return Case(case, title, "steps/s", sides, rows, (notes[algorithm], _VECTORISED))


def _rows(sb3: float | None = None, sbx: float | None = None) -> tuple[Row, ...]:
    """Against both peers, with the least ratios aimed at."""
    bounds = {"SB3": sb3, "SBX": sbx}
    return tuple(Row("tegu", peer, at_least(bound) if bound else None) for peer, bound in bounds.items())


def _lizard(name: str, n_envs: int) -> Side:
    shared: dict[str, Any] = {
        "algorithm": "q-learning",
        "environment": "lizard",
        "steps": 5_000_000,
        "hyper_parameters": {},
    }
    return worker(name, "ours.py", OURS, loop="fused", n_envs=n_envs, **shared)


def _self_play(name: str, loop: str) -> Side:
    hyper = {"train_freq": 8192, "gradient_steps": 32, "batch_size": 1024, "buffer_size": 262_144, "random_moves": 10}
    shared = {"environment": "connect-four", "algorithm": "alphazero", "n_envs": 256, "hyper_parameters": hyper}
    return worker(name, "ours.py", OURS, loop=loop, steps=163_840, **shared)


_DQN_OF_IMAGES = _DQN | {"buffer_size": 10_000, "target_update_interval": 1000}


def _breakout() -> Case:
    shared: dict[str, Any] = {"environment": "ALE/Breakout-v5", "algorithm": "dqn", "n_envs": 1, "steps": 4000}
    theirs = {**shared, "net_arch": [], "hyper_parameters": _DQN_OF_IMAGES}
    ours = {**shared, "hyper_parameters": {**_DQN_OF_IMAGES, "net_arch": [512]}}
    return Case(
        "dqn-breakout",
        "DQN, Breakout of the Arcade Learning Environment",
        "steps/s",
        (
            worker("tegu", "ours.py", OURS, loop="atari", **ours),
            worker("SB3", "peers.py", PEERS, tries_threads=True, library="stable_baselines3", **theirs),
            worker("SBX", "peers.py", PEERS, tries_threads=True, library="sbx", **theirs | {"steps": 800}),
        ),
        _rows(sb3=2),
        (
            "One game, batch_size 32, train_freq 4, Nature CNN. Stable-Baselines3 and SBX play behind the former's "
            "AtariWrapper, ours by the same rules: no sticky actions, 30 no-ops and FIRE at the start, lives as "
            "episodes, clipped rewards, 84x84 pixels, four frames. A step is four frames of the game.",
        ),
    )


def _minatar_dqn() -> Case:
    shared: dict[str, Any] = {"environment": "MinAtar/Breakout-v0", "algorithm": "dqn", "n_envs": 1}
    ours = {"loop": "fused", "steps": 50_000, "hyper_parameters": {**_DQN_OF_IMAGES, "net_arch": [128]}}
    theirs = {"library": "stable_baselines3", "steps": 10_000, "net_arch": [128], "hyper_parameters": _DQN_OF_IMAGES}
    return Case(
        "dqn-minatar",
        "DQN, MinAtar's Breakout in JAX (fused loop)",
        "steps/s",
        (
            worker("tegu", "ours.py", OURS, **shared, **ours),
            worker("SB3", "peers.py", PEERS, tries_threads=True, **shared, **theirs),
        ),
        (Row("tegu", "SB3", at_least(10)),),
        (
            "One game, batch_size 32, train_freq 4, the paper's network (16 convolutions, 128 units). "
            "Stable-Baselines3 plays the package MinAtar.",
        ),
    )


def _minatar_pqn() -> Case:
    shared: dict[str, Any] = {"environment": "MinAtar/Breakout-v0", "n_envs": 128}
    rollouts = {"n_steps": 32, "batch_size": 128, "n_epochs": 2}
    ours = {"algorithm": "pqn", "loop": "fused", "steps": 409_600, "hyper_parameters": {**rollouts, "net_arch": [128]}}
    theirs = {"algorithm": "ppo", "library": "stable_baselines3", "steps": 40_960, "hyper_parameters": rollouts}
    return Case(
        "pqn-minatar",
        "PQN, MinAtar's Breakout in JAX (fused loop), beside PPO",
        "steps/s",
        (
            worker("tegu", "ours.py", OURS, **shared, **ours),
            worker(
                "SB3's PPO",
                "peers.py",
                PEERS,
                tries_threads=True,
                net_arch={"pi": [128], "vf": [128]},
                **shared,
                **theirs,
            ),
        ),
        (Row("tegu", "SB3's PPO"),),
        (
            "Stable-Baselines3 has no PQN. Its PPO collects as many steps and goes over them as often, in minibatches "
            "of the same size, with the same convolutions: 128 games, n_steps 32, batch_size 128, n_epochs 2.",
        ),
    )


def _learner() -> Case:
    return Case(
        "learner-matmul",
        "an update of DQN with the Nature CNN, as a share of the rate of matrix products",
        "GFLOP/s",
        (
            worker("tegu", "learner.py", OURS, work="update", batch_size=256, steps=20),
            worker("matrix product", "learner.py", OURS, work="product", batch_size=2048, steps=200),
        ),
        (Row("tegu", "matrix product", at_least(0.5)),),
        (
            "float32, batch_size 256: 17.5 GFLOP an update. Counted are the products and sums of matrices and "
            "convolutions: of the online and the target network forwards, and twice as many backwards, where images "
            "need no gradient. The matrix product is that of [2048, 1024] and [1024, 1024] by XLA.",
        ),
    )


def _search(batch: int, simulations: int, at_least_ours: float) -> Case:
    shared = {"batch": batch, "simulations": simulations, "width": 128, "blocks": 3, "searches": 100}
    game = {"game": "connect-four", "network": "mlp"}
    return Case(
        f"search-{batch}x{simulations}",
        f"Gumbel AlphaZero's search in Connect Four, {batch} positions, {simulations} simulations",
        "simulations/s",
        (
            worker("tegu", "search.py", OURS, side="tegu", **game, **shared),
            worker("pgx + mctx", "search.py", PEERS, side="pgx + mctx", **shared),
        ),
        (Row("tegu", "pgx + mctx", at_least(at_least_ours, "ours")),),
        ("Residual MLP of 3 blocks, width 128, random weights. Both use mctx; the game and what surrounds it differ.",),
    )


def _go(size: int, batch: int, steps: int) -> Case:
    shared = {"size": size, "batch": batch, "steps": steps}
    return Case(
        f"go-{size}x{size}",
        f"Go {size}x{size} with random moves, {batch} games side by side",
        "steps/s",
        (
            worker("tegu", "go.py", OURS, side="ours", superko=False, **shared),
            worker("tegu, superko", "go.py", OURS, side="ours", superko=True, **shared),
            worker("pgx", "go.py", PEERS, side="pgx", superko=True, **shared),
        ),
        (Row("tegu", "pgx", at_least(5.0)), Row("tegu, superko", "pgx")),
        ("pgx looks for superko at every move; Tegu as an option, since a search does without.",),
    )


def _particles(world: str) -> Case:
    name = world.removeprefix("simple_").partition("_v")[0]
    return Case(
        f"particles-{name}",
        f"{world} with a random policy",
        "steps/s",
        (
            worker("tegu", "particles.py", OURS, side="tegu", environment=world, n_envs=256, steps=5_000_000),
            worker("mpe2", "particles.py", PEERS, side="mpe2", environment=world, steps=20_000),
        ),
        (Row("tegu", "mpe2", at_least(50)),),
        ("A step moves all agents. Ours: 256 environments in the fused loop; mpe2: one environment, its own loop.",),
    )


CASES: tuple[Case, ...] = (
    _against_peers(
        "ppo-cartpole", "PPO, CartPole-v1 in JAX (fused loop)", "fused", "ppo", 8, 102_400, _PPO, _rows(sb3=10)
    ),
    _against_peers(
        "dqn-cartpole", "DQN, CartPole-v1 in JAX (fused loop)", "fused", "dqn", 1, 50_000, _DQN, _rows(sb3=10)
    ),
    _against_peers(
        "ppo-cartpole-host", "PPO, Gymnasium's CartPole-v1 (host loop)", "host", "ppo", 8, 102_400, _PPO, _rows(3, 2)
    ),
    _against_peers(
        "dqn-cartpole-host", "DQN, Gymnasium's CartPole-v1 (host loop)", "host", "dqn", 1, 50_000, _DQN, _rows()
    ),
    _breakout(),
    _go(9, 1024, 1_000_000),
    _go(19, 64, 60_000),
    _minatar_dqn(),
    _minatar_pqn(),
    _learner(),
    Case(
        "q-learning-lizard",
        "tabular Q-learning, the lizard (fused loop)",
        "updates/s",
        (
            _lizard("tegu, 1 environment", 1),
            _lizard("tegu, 16 environments", 16),
            worker("plain Python", "plain.py", OURS, steps=5_000_000),
        ),
        (
            Row("tegu, 1 environment", "plain Python", at_least(1e6, "ours")),
            Row("tegu, 16 environments", "plain Python", at_least(1e6, "ours")),
        ),
        ("Every step is one update of the table. The reference is a loop over Python lists by the same rules.",),
    ),
    Case(
        "train-to-475",
        "PPO to a greedy 475 on CartPole-v1",
        "s",
        (
            tegu_train("tegu, cold cache", "CartPole-v1", "--seed", "{seed}", cache="cold"),
            worker("SB3, RL Zoo's settings", "zoo.py", PEERS, tries_threads=True, episodes=100, **_ZOO_CARTPOLE),
            tegu_train("tegu, warm cache", "CartPole-v1", "--seed", "{seed}", cache="warm"),
        ),
        (
            Row("tegu, cold cache", "SB3, RL Zoo's settings", at_most(8, "ours"), "peer / ours"),
            Row("tegu, warm cache", "SB3, RL Zoo's settings", at_most(8, "ours"), "peer / ours"),
        ),
        (
            "From the start of the process to its end, imports, compilation and 100 greedy episodes included; each "
            "side trains for the steps its settings name. A score below 475 counts as missed.",
            "Ours is `tegu train CartPole-v1 --seed N`. A cold compilation cache is a fresh folder, a warm one has "
            "served the same command once.",
            "SB3: 8 environments in a DummyVecEnv, n_steps 32, batch_size 256, gae_lambda 0.8, gamma 0.98, n_epochs "
            "20, learning_rate and clip_range falling linearly from 0.001 and 0.2, 100,000 steps.",
        ),
    ),
    Case(
        "ten-seeds",
        "ten seeds of `tegu train CartPole-v1` in one process, over one",
        "s",
        (
            tegu_train("tegu, 10 seeds", "CartPole-v1", "--seeds", "10", cache="warm"),
            tegu_train("tegu, 1 seed", "CartPole-v1", "--seeds", "1", cache="warm"),
        ),
        (Row("tegu, 10 seeds", "tegu, 1 seed", at_most(8)),),
        ("Whole processes, each with a warm compilation cache of its own; here the ratio is a cost.",),
    ),
    Case(
        "self-play",
        "AlphaZero on Connect Four: self-play and learning",
        "steps/s",
        (_self_play("tegu, games dealt out", "dealt"), _self_play("tegu, one program", "fused")),
        (Row("tegu, games dealt out", "tegu, one program"),),
        (
            "A step is a move after a search of 32 simulations. The preset's sizes, a constant learning rate, from an "
            "untrained network on.",
        ),
    ),
    _search(256, 64, 223_000),
    _search(1024, 32, 342_000),
    _particles("simple_spread_v3"),
    _particles("simple_tag_v3"),
)
