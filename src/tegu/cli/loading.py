"""Loading what ``RUN`` and ``--env`` name."""

import argparse
from pathlib import Path

from tegu.agents.agent import Agent
from tegu.agents.agent import load as load_agent
from tegu.core.errors import TeguError


def load(args: argparse.Namespace) -> Agent:
    """The agent that ``RUN`` names, with an environment to play in."""
    return loaded(args.selector, args)


def loaded(selector: str, args: argparse.Namespace) -> Agent:
    """The same for one of several runs."""
    agent = load_agent(selector, environment=args.env, folder=args.runs)
    if agent.source is None:
        raise TeguError(f"{selector} was trained on {agent.spec.id}: name the environment with --env")
    return agent


def place(agent: Agent, args: argparse.Namespace) -> Path:
    """The folder that the agent came from."""
    return agent.run.path if agent.run is not None else Path(args.selector)
