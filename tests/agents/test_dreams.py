"""Dreams of an episode of images: what follows from what was seen, step by step, and their pictures."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tegu
from tegu.agents.agent import Agent
from tegu.agents.open_loop import dream, observed, played
from tegu.algorithms.base import Dream
from tegu.algorithms.dreams import step_in_dream
from tegu.analysis.dream import as_colours, dream_frames
from tegu.cli import watch
from tegu.cli.common import UsageError
from tegu.core.errors import TeguError
from tegu.environments.pixels.cartpole import CartPolePixels
from tegu.nn.symlog import symexp
from tegu.training.plan import make_plan, spec_at

WORLD_MODELS = tegu.WorldModels(latent_size=3, units=8, channels=2, lstm_hidden_size=4, n_mixtures=2, temperature=0.7)
DREAMER = tegu.Dreamer(
    units=8,
    channels=2,
    deterministic_size=4,
    n_categoricals=2,
    n_classes=3,
    n_layers=1,
    learning_rate=tegu.Linear(1e-3),
)


def agent(algorithm: Any, environment: Any = None) -> Agent:
    """One that has learned nothing."""
    plan = make_plan(environment or CartPolePixels(size=8), algorithm, steps=100_000)
    spec = spec_at(plan.source, 1)
    learners = jax.tree.map(lambda leaf: leaf[None], plan.algorithm.init(jax.random.key(5), spec))
    return Agent(plan.algorithm, spec, learners, (3,), 0, plan.source)


def episode(made: Agent) -> tuple[jax.Array, jax.Array]:
    """The first 7 observations of one, and the 6 actions between them."""
    steps = jax.tree.map(lambda leaf: jnp.asarray(leaf[:6]), played(made, 0, False, 50))
    return jnp.asarray(observed(steps)), steps.action


@pytest.mark.slow
@pytest.mark.parametrize("seen", [1, 4])
def test_m_goes_on_from_what_it_has_seen(seen: int) -> None:
    made = agent(WORLD_MODELS)
    world, key = made.learner().world, jax.random.key(1)
    seen_all, actions = episode(made)
    latent = world.vision(seen_all).mean
    state = world.memory.lstm.start(1)
    for number in range(seen - 1):
        state = world.memory(latent[number, None], world.action(actions[number, None]), state)
    now, expected = latent[seen - 1, None], []
    for action, each in zip(actions[seen - 1 :], jax.random.split(key, 7 - seen), strict=True):
        now, state, *_ = step_in_dream(world, now, state, action[None], each, 0.7)
        expected.append(world.vision.decoder.images[0](now[0]))
    found = made.algorithm.dream_of(made.learner(), seen_all, actions, seen, key)
    np.testing.assert_allclose(found.dreamt, np.stack(expected), atol=1e-5)
    np.testing.assert_allclose(found.reconstructed, world.vision.decoder.images[0](latent), atol=1e-5)
    np.testing.assert_allclose(found.observed, seen_all / 255, atol=1e-6)


@pytest.mark.slow
def test_a_picture_that_is_flattened_is_drawn_too() -> None:
    made = agent(replace(WORLD_MODELS, features_extractor="flatten"))
    vision, (seen_all, actions) = made.learner().world.vision, episode(made)
    assert not vision.encoder.images
    found = made.algorithm.dream_of(made.learner(), seen_all, actions, 2, jax.random.key(1))
    pixels = symexp(vision.decoder.vector(vision(seen_all).mean))
    np.testing.assert_allclose(found.reconstructed, pixels.reshape((7, 8, 8, 1)), atol=1e-5)
    assert found.dreamt.shape == (5, 8, 8, 1)


@pytest.mark.slow
@pytest.mark.parametrize("seen", [1, 4])
def test_dreamer_goes_on_from_the_state_that_it_acts_by(seen: int) -> None:
    made = agent(DREAMER)
    networks, key, algorithm = made.learner().networks, jax.random.key(1), made.algorithm
    world, (seen_all, actions) = networks.world, episode(made)
    memory, states = algorithm.begin(made.learner(), key, 1), []
    taken = world.action_features(actions)
    for number, observation in enumerate(seen_all):
        states.append(algorithm.state(networks, observation[None], memory, None))
        memory = world.rssm.memory(states[-1], taken[number, None]) if number < 6 else memory
    now, expected = states[seen - 1], []
    for action, noise in zip(taken[seen - 1 :], jax.random.uniform(key, (7 - seen, 1, 2)), strict=True):
        now = world.rssm.imagine(now, action[None], noise)
        expected.append(world.decoder.images[0](now.features[0]))
    found = algorithm.dream_of(made.learner(), seen_all, actions, seen, key)
    np.testing.assert_allclose(found.dreamt, np.stack(expected), atol=1e-5)
    known = np.stack([world.decoder.images[0](state.features[0]) for state in states])
    np.testing.assert_allclose(found.reconstructed, known, atol=1e-5)


@pytest.mark.slow
def test_as_many_steps_as_asked_are_dreamt_and_all_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    def the_world(self: Any, learner: Any, observation: Any, actions: Any, seen: int, key: Any) -> Dream:
        assert len(actions) == len(observation) - 1
        images = observation / 255
        return Dream(images, images, images[seen:])

    monkeypatch.setattr(tegu.WorldModels, "dream_of", the_world)
    made = agent(WORLD_MODELS)
    whole = dream(made, 3)
    assert len(whole.dreamt) == len(whole.observed) - 3
    part = dream(made, 3, 2)
    assert (len(part.observed), len(part.dreamt)) == (5, 2)
    np.testing.assert_array_equal(part.observed, whole.observed[:5])
    np.testing.assert_array_equal(part.dreamt, part.observed[3:])


@pytest.mark.slow
def test_what_cannot_be_dreamt_is_said() -> None:
    with pytest.raises(
        TeguError, match=r"the episode was cut after 4 steps .*: too few for 5 seen observations and one"
    ):
        dream(agent(WORLD_MODELS), 5, max_steps=4)
    with pytest.raises(TeguError, match=r"too few for 2 seen observations and 4 dreamt steps"):
        dream(agent(WORLD_MODELS), 2, 4, max_steps=4)
    for wrong in ({"seen": 0}, {"horizon": 0}, {"max_steps": 0}):
        with pytest.raises(TeguError, match=f"{next(iter(wrong))} must be at least 1, got 0"):
            dream(agent(WORLD_MODELS), **wrong)
    for algorithm in (WORLD_MODELS, DREAMER):
        with pytest.raises(TeguError, match="dreams no images of Pendulum-v1: expected an algorithm whose model draws"):
            dream(agent(algorithm, "Pendulum-v1"))
    with pytest.raises(TeguError, match="QLearning dreams no images of lizard"):
        dream(tegu.train("lizard", steps=100, folder=None))


def test_three_pictures_next_to_each_other() -> None:
    observed, dreamt = np.zeros((5, 4, 6, 1)), np.ones((2, 4, 6, 1))
    observed[3] = 0.5
    frames = dream_frames(observed, observed / 2, dreamt, side_by_side=True)
    assert (len(frames), frames[0].shape) == (5, (4, 3 * 6 + 2, 3))
    assert (frames[3][:, :6] == 128).all()
    assert (frames[3][:, 7:13] == 64).all()
    assert (frames[2][:, 14:] == (0xE4, 0xE4, 0xE0)).all()
    assert (frames[3][:, 14:] == 255).all()
    (grey,) = np.unique(dream_frames(2 * dreamt, 0 * dreamt, -2 * dreamt, side_by_side=True)[0][:, 7:13])
    assert grey == 0, "what is darker than all that was observed is black"
    one = np.zeros((2, 1, 1, 1))
    dark_and_light = np.array([-1.0, 1.0]).reshape(one.shape)
    shown = dream_frames(dark_and_light, one, one[1:], side_by_side=True)
    assert [frame[0, 0, 0] for frame in shown] == [0, 255]
    assert shown[0][0, 2, 0] == 128
    assert dream_frames(observed, observed, dreamt, side_by_side=False)[0].shape == (3 * 4 + 2, 6, 3)


def test_every_channel_has_a_colour() -> None:
    grey = np.linspace(-0.5, 1.5, 5).reshape((5, 1, 1))
    np.testing.assert_array_equal(as_colours(grey)[:, 0, 0], [0, 0, 128, 255, 255])
    np.testing.assert_array_equal(as_colours(np.eye(3)[:, None, None])[:, 0, 0], 255 * np.eye(3))
    for channels in (2, 4, 10):
        shown = as_colours(np.eye(channels)[:, None, None])[:, 0, 0]
        assert len(np.unique(shown[:7], axis=0)) == min(channels, 7)
        assert (shown.max(axis=-1) > 100).all()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--seen", "5"], "--seen is for --dream, and must be at least 1"),
        (["--dream", "--seen", "0"], "--seen is for --dream, and must be at least 1"),
        (["--dream", "--model"], "--dream draws pictures of a RUN: leave --model and --terminal out"),
        (["game.sgf", "--dream"], "--dream draws pictures of a RUN"),
    ],
)
def test_flags_that_make_no_sense(words: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        watch.arguments(words)


@pytest.mark.slow
def test_an_animation_and_a_strip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = agent(WORLD_MODELS, "CartPolePixels-v0")
    made.save(tmp_path / "agent")
    words = [str(tmp_path / "agent"), "--env", "CartPolePixels-v0", "--dream", "--seen", "3", "--horizon", "4"]
    out: Any = SimpleNamespace(print=lambda *given, **_: print(*given), quiet=True)
    outcome = watch.run(watch.arguments([*words, "--format", "gif", "--quiet"]), out)
    assert (outcome.data["seen"], outcome.data["dreamt"]) == (3, 4)
    assert set(outcome.data["errors"]) == {"reconstructed", "dreamt", "no change"}
    assert Path(outcome.data["animation"]).read_bytes().startswith(b"GIF89a")
    assert Path(outcome.data["frame_strip"]).read_bytes().startswith(b"\x89PNG")
    assert "3 observations seen, 4 dreamt" in capsys.readouterr().out
