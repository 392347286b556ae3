"""``tegu import``: a model of Stable-Baselines3 as an agent."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from tegu.cli.common import Outcome, Parser, environment, working

_DESCRIPTION = """\
Read a model that Stable-Baselines3 saved, without unpickling anything, and write it as an agent: tegu evaluate, tegu
watch and tegu.load take its folder. Models with MlpPolicy of A2C, PPO, DQN, SAC, TD3 and DDPG can be read."""


def arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = Parser("import", "FILE --env ENV [flags]", _DESCRIPTION)
    parser.add_argument("file", metavar="FILE", type=Path, help="what model.save wrote, such as ppo_cartpole.zip")
    parser.add_argument(
        "--env", type=environment, metavar="ENV", required=True, help="the environment that it was trained in"
    )
    parser.add_argument("--out", metavar="FOLDER", type=Path, help="folder to write (FILE without its ending)")
    return parser.parse(words)


def run(args: argparse.Namespace, out: Console) -> Outcome:
    from tegu.agents.sb3_files import imported
    from tegu.core.errors import TeguError

    if not args.file.is_file():
        raise TeguError(f"{args.file}: there is no such file")
    if args.out is None and not args.file.suffix:
        raise TeguError(f"{args.file} has no ending: name the folder to write with --out")
    folder: Path = args.out or args.file.with_suffix("")
    if folder.exists():
        raise TeguError(f"{folder} exists: name another folder with --out")
    with working(args, f"reading {args.file}"):
        agent, left_out = imported(args.file, args.env)
        agent.save(folder)
    title = f"{agent.algorithm.title} on {agent.spec.id}, {agent.steps:,} steps, {agent.network}"
    out.print(f"{title} -> {folder}", soft_wrap=True)
    if left_out:
        out.print(f"not taken over as they were: {', '.join(left_out)}", soft_wrap=True)
    return Outcome(
        {
            "path": str(folder),
            "environment": agent.spec.id,
            "algorithm": agent.algorithm.name,
            "steps": agent.steps,
            "left_out": left_out,
        }
    )
