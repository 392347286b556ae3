"""What an algorithm knows of its environment can be compared and hashed, as compilation asks for."""

import jax
import numpy as np
import pytest
from gymnasium import spaces

import tegu
from tegu.core.spec import EnvironmentSpec, Spaces
from tegu.training.plan import spec_of

BOX, TWO = spaces.Box(-1, 1, (2,)), spaces.Discrete(2)
WIDE = np.arange(5000, dtype=np.float32)  # NumPy leaves most of it out of its text


def test_equal_spaces_are_one_to_the_compiler():
    one, other = (Spaces(spaces.Box(-1, 1, (2,)), spaces.Discrete(2)) for _ in range(2))
    assert one == other
    assert hash(one) == hash(other)
    assert len({one, other}) == 1
    traced = []
    compiled = jax.jit(lambda spaces, x: traced.append(spaces) or x + 1, static_argnums=0)
    for seen in (one, other):
        compiled(seen, np.ones(2, np.float32))
    assert len(traced) == 1


@pytest.mark.parametrize(
    "other",
    [
        Spaces(spaces.Box(-1, 1, (3,)), TWO),
        Spaces(spaces.Box(-1, 2, (2,)), TWO),
        Spaces(BOX, spaces.Discrete(3)),
        Spaces(BOX, spaces.Discrete(2, start=1)),
        Spaces(spaces.Dict(x=BOX), TWO),
    ],
)
def test_other_spaces_are_others(other):
    assert Spaces(BOX, TWO) != other
    assert len({Spaces(BOX, TWO), other}) == 2


def test_spaces_that_differ_in_what_their_text_leaves_out_are_others():
    """Their hashes may be the same, which costs nothing but time."""
    bounds = WIDE.copy()
    bounds[2500] += 1
    one, other = (Spaces(spaces.Box(-10_000, high), TWO) for high in (WIDE, bounds))
    assert one != other
    assert len({one, other}) == 2


def spec(**changes):
    settings = {"id": "test", "observation_space": BOX, "action_space": TWO, "n_envs": 2, "agents": ()}
    return EnvironmentSpec(**settings | changes)


def test_equal_specs_are_one_to_the_compiler():
    assert spec() == spec(observation_space=spaces.Box(-1, 1, (2,)))
    assert hash(spec()) == hash(spec(observation_space=spaces.Box(-1, 1, (2,))))
    assert spec().spaces == Spaces(BOX, TWO)


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "other"},
        {"observation_space": TWO},
        {"action_space": BOX},
        {"n_envs": 3},
        {"agents": ("alto",)},
    ],
)
def test_specs_that_differ_are_others(changes):
    assert spec() != spec(**changes)
    assert len({spec(), spec(**changes)}) == 2


def test_worlds_that_differ_only_in_options_of_the_model_are_others():
    """For a planner they are other rules, though they look the same from outside."""
    worlds = [tegu.make("FrozenLake-v1", is_slippery=slippery) for slippery in (False, True, True)]
    icy, slippery, same = (spec_of("FrozenLake-v1", world, 2) for world in worlds)
    assert icy.spaces == slippery.spaces
    assert bool(icy != slippery) is True
    assert bool(slippery == same) is True
    assert hash(slippery) == hash(same)
    assert len({icy, slippery, same}) == 2


def test_one_of_several_agents_knows_its_own_spaces():
    several = spec(
        observation_space=spaces.Dict(alto=BOX, bass=TWO),
        action_space=spaces.Dict(alto=TWO, bass=BOX),
        agents=("alto", "bass"),
        model="the world",
    )
    alone = several.of_agent("bass")
    assert alone.spaces == Spaces(TWO, BOX)
    assert (alone.id, alone.n_envs, alone.agents, alone.model) == ("test", 2, (), None)
