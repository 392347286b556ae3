"""Loading what ``RUN`` and ``--env`` name."""

import argparse
from pathlib import Path

from tegu.agent import Agent
from tegu.agent import load as load_agent
from tegu.errors import TeguError


def load(args: argparse.Namespace) -> Agent:
    """The agent, with an environment to play in."""
    agent = load_agent(args.selector, environment=args.env, folder=args.runs)
    if agent.source is None:
        raise TeguError(f"{args.selector} was trained on {agent.spec.id}: name the environment with --env")
    return agent


def place(agent: Agent, args: argparse.Namespace) -> Path:
    """The folder that the agent came from."""
    return agent.run.path if agent.run is not None else Path(args.selector)
