"""Loading what ``RUN`` and ``--env`` name."""

import argparse
from pathlib import Path
from typing import Any

from tegu.agents.agent import Agent
from tegu.agents.agent import load as load_agent
from tegu.algorithms.own import CodeWanted
from tegu.core.errors import TeguError


def load(args: argparse.Namespace) -> Agent:
    """The agent that ``RUN`` names, with an environment to play in."""
    return _playing(args.selector, load_agent(args.selector, environment=args.env, folder=args.runs, **_code(args)))


def loaded(selector: str, args: argparse.Namespace) -> Agent:
    """The same for one of several runs."""
    return _playing(selector, allowing(selector, args.env, args))


def allowing(selector: str, environment: Any, args: argparse.Namespace) -> Agent:
    """One of several agents: the ``--algorithm`` and ``--network`` of the command are used for those that need them."""
    try:
        return load_agent(selector, environment=environment, folder=args.runs)
    except CodeWanted:
        return load_agent(selector, environment=environment, folder=args.runs, **_code(args))


def _code(args: argparse.Namespace) -> dict[str, Any]:
    return {"algorithm": args.algorithm, "network": args.network}


def _playing(selector: str, agent: Agent) -> Agent:
    if agent.source is None:
        raise TeguError(f"{selector} was trained on {agent.spec.id}: name it with --env")
    return agent


def place(agent: Agent, args: argparse.Namespace) -> Path:
    """The folder that the agent came from."""
    return agent.run.path if agent.run is not None else Path(args.selector)


def episode_name(agent: Agent, args: argparse.Namespace) -> str:
    """How files about an episode of ``--seed-index`` are called."""
    return f"{agent.steps}-seed-{agent.seeds[args.seed_index]}" + "-stochastic" * args.stochastic
