"""Whether an environment is still the one that a saved agent learned in."""

from gymnasium import spaces

import tegu
from tegu.agents.saved_source import fits
from tegu.core.spec import EnvironmentSpec
from tegu.environments.make import find


def test_positions_of_a_game_may_hold_more_than_they_did():
    """But what an agent was shown must still be there, and the same."""
    source, game = find("go-5x5"), tegu.make("go-5x5")
    seen = dict(game.observation_space.spaces)

    def fitting(parts):
        return fits(source, EnvironmentSpec("go-5x5", spaces.Dict(parts), game.action_space))

    assert fitting(seen)
    assert fitting({name: space for name, space in seen.items() if name != "komi"})
    assert not fitting(seen | {"prisoners": spaces.Discrete(25)})
    assert not fitting(seen | {"ko": spaces.Discrete(50, start=-1)})


def test_other_environments_must_be_exactly_what_they_were():
    source, space = find("hide-and-seek-tiny"), tegu.make("hide-and-seek-tiny").observation_space
    actions = tegu.make("hide-and-seek-tiny").action_space
    fewer = spaces.Dict({name: part for name, part in space.spaces.items() if name != "seeker_0"})
    assert fits(source, EnvironmentSpec("hide-and-seek-tiny", space, actions))
    assert not fits(source, EnvironmentSpec("hide-and-seek-tiny", fewer, actions))
