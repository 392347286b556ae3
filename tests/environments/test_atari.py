"""Atari games as learners see them, against a game of ALE's own that is stepped, pooled, shrunk and stacked by hand."""

import importlib
import json
from typing import Any

import numpy as np
import pytest
from run_contents import assert_same, everything, stopped_and_resumed

import tegu
from tegu.environments.adapters import atari
from tegu.environments.adapters.atari import AtariEnvironments
from tegu.environments.adapters.atari_options import PROTOCOLS, AtariOptions
from tegu.environments.make import find, names
from tegu.spaces.frames import FrameStack

ale_py = pytest.importorskip("ale_py")


def shrunk(frame: np.ndarray) -> np.ndarray:
    """``[210, 160]`` as ``[84, 84]``: each pixel the mean over its area, of 5 halves by 40 twenty-firsts."""
    rows = frame.astype(int).repeat(2, axis=0).reshape(84, 5, 160).sum(axis=1)
    return rows.repeat(21, axis=1).reshape(84, 84, 40).sum(axis=2) / 200


class ByHand:
    """One game by ALE's interface, from a seed: what the papers say of skipped, pooled and stacked frames."""

    def __init__(self, seed: int, game: str, sticky: float = 0.25, skip: int = 4, full: bool = False, noops: int = 0):
        self.ale, self.skip = ale_py.ALEInterface(), skip
        self.ale.setLoggerMode(ale_py.LoggerMode.Error)
        self.ale.setFloat("repeat_action_probability", sticky)
        self.ale.setInt("random_seed", seed)
        self.ale.loadROM(ale_py.roms.get_rom_path(game))
        self.actions = self.ale.getLegalActionSet() if full else self.ale.getMinimalActionSet()
        self.begin(noops)

    def begin(self, noops: int = 0) -> None:
        self.ale.reset_game()
        for _ in range(noops):
            self.ale.act(0)
        self.frames = [np.zeros((210, 160), np.uint8)] * 3 + [self.ale.getScreenGrayscale()]

    @property
    def stack(self) -> np.ndarray:
        """``[4, 84, 84]``"""
        return np.stack([shrunk(frame) for frame in self.frames])

    def step(self, action: int) -> tuple[float, bool, int]:
        """The reward, whether the game is over, and the lives."""
        reward, frames = 0.0, []
        for _ in range(self.skip):
            reward += self.ale.act(self.actions[action])
            frames.append(self.ale.getScreenGrayscale())
            if self.ale.game_over():
                break
        self.frames = [*self.frames[1:], np.maximum(*frames[-2:]) if len(frames) > 1 else frames[-1]]
        return reward, self.ale.game_over(), self.ale.lives()


def games(game: str, n: int = 1, **options: Any) -> AtariEnvironments:
    return AtariEnvironments(AtariOptions.of(game, options), [(3, i) for i in range(n)])


def seed_of(i: int, number: int = 0) -> int:
    """That of the ``i``-th of ``games``."""
    return int(np.random.SeedSequence([3, i, number]).generate_state(1)[0] >> 1)


def assert_same_picture(ours: np.ndarray, by_hand: np.ndarray) -> None:
    """But for rounding, of numbers that OpenCV knows in float32."""
    assert abs(ours - by_hand).max() <= 0.5 + 1e-4


def acts(n_steps: int, n: int, n_actions: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(n_actions, size=(n_steps, n)).astype(np.int32)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("game", "options", "by_hand", "n_actions"),
    [
        ("pong", {}, {}, 6),
        ("breakout", {"protocol": "machado"}, {"full": True}, 18),
        ("space_invaders", {"repeat_action_probability": 0.0, "frameskip": 3}, {"sticky": 0.0, "skip": 3}, 6),
    ],
)
def test_frames_rewards_and_ends_are_those_of_the_game(game, options, by_hand, n_actions):
    """Two games side by side, by sticky actions as well; a game that is over goes on as ALE's own does."""
    ours = games(game, 2, reward_clipping=False, **options)
    theirs = [ByHand(seed_of(i), game, **by_hand) for i in range(2)]
    assert ours.action_space.n == n_actions
    seen, ends = ours.reset(), 0
    for t, actions in enumerate(acts(300, 2, n_actions)):
        assert seen.dtype == np.uint8
        now = ours.step(actions)
        assert not now.truncated.any()
        np.testing.assert_array_equal(now.over, now.terminated)
        for i, mine in enumerate(theirs):
            if t % 5 == 0:
                assert_same_picture(seen[i], mine.stack)
            reward, over, _ = mine.step(actions[i])
            assert (now.reward[i], now.score[i], now.terminated[i]) == (reward, reward, over)
            if over:
                ends += 1
                mine.begin()
                np.testing.assert_array_equal(now.next_observation[i, :-1], seen[i, 1:])
            else:
                np.testing.assert_array_equal(now.observation[i], now.next_observation[i])
        seen = now.observation
    assert ends > 0 or game != "breakout"


def test_an_episode_out_of_time_is_truncated_with_its_true_last_observation():
    """And another one begins: 10 frames are 3 steps of 4; ale-py would show a frame of the step before."""
    ours, theirs = games("pong", max_num_frames_per_episode=10), ByHand(seed_of(0), "pong")
    seen = ours.reset()
    for t, actions in enumerate(acts(12, 1, 6)):
        assert_same_picture(seen[0], theirs.stack)
        now = ours.step(actions)
        theirs.step(actions[0])
        assert_same_picture(now.next_observation[0], theirs.stack)
        assert (now.truncated[0], now.over[0], now.terminated[0]) == (t % 3 == 2, t % 3 == 2, False)
        if now.over[0]:
            theirs.begin()
        seen = now.observation
    assert ours.time_limit == 3


def test_a_lost_life_ends_what_is_learned_from_and_not_the_game():
    """Its observations show no frame from before, the game goes on, and only its end is the end of a return."""
    ours, theirs = games("breakout", protocol="nature", noop_max=0), ByHand(seed_of(0), "breakout", sticky=0.0)
    seen, lives, shown, lost, overs = ours.reset(), 5, 1, 0, 0
    for actions in acts(400, 1, 4):
        now = ours.step(actions)
        _, over, left = theirs.step(actions[0])
        loses = not over and left < lives
        assert (now.terminated[0], now.over[0]) == (over or loses, over)
        shown = min(shown + 1, 4)
        if not over:
            if loses or shown < 4:
                assert_same_picture(now.next_observation[0, -shown:], theirs.stack[-shown:])
            assert not now.next_observation[0, :-shown].any()
        if over or loses:
            shown = 1
            assert not now.observation[0, :-1].any()
            assert now.observation[0, -1].any()
        lost, overs, lives = lost + loses, overs + over, 5 if over else left
        if over:
            theirs.begin()
        seen = now.observation
    assert lost >= 5
    assert overs >= 1
    assert seen.shape == (1, 4, 84, 84)


@pytest.mark.slow
def test_games_side_by_side_are_what_each_is_alone():
    """Whatever happens to the others in the same step: lost lives, ends, and time limits."""
    options: dict[str, Any] = {"protocol": "nature", "max_num_frames_per_episode": 4 * 70}
    together = games("breakout", 2, **options)
    alone = [AtariEnvironments(together.options, [(3, i)]) for i in range(2)]
    np.testing.assert_array_equal(together.reset(), np.concatenate([each.reset() for each in alone]))
    happened = np.zeros((2, 2), int)
    for actions in acts(250, 2, 4):
        now = together.step(actions)
        each = [one.step(actions[i : i + 1]) for i, one in enumerate(alone)]
        assert now.success is None
        for ours, theirs in zip(now[:-1], zip(*(one[:-1] for one in each), strict=True), strict=True):
            np.testing.assert_array_equal(ours, np.concatenate(theirs))
        happened += np.stack([now.truncated, now.terminated], axis=1)
    assert (happened > 0).all()


@pytest.mark.slow
def test_up_to_so_many_frames_of_no_action_come_first():
    """Each number of them from 0 to ``noop_max`` is possible. In Freeway the cars drive from the first frame on."""
    ours = games("freeway", noop_max=2, repeat_action_probability=0.0, max_num_frames_per_episode=8)
    still = np.zeros(1, np.int32)
    by_count = []
    for noops in range(4):
        mine = ByHand(0, "freeway", sticky=0.0, noops=noops)
        first = mine.stack[-1]
        mine.step(0)
        by_count.append((first, mine.stack[-1]))
    ours.reset()
    counts = set()
    for _ in range(40):
        ours.step(still)
        first = ours.step(still).observation[0, -1]
        second = ours.step(still).next_observation[0, -1]
        ours.step(still)
        (fits,) = [k for k, (a, b) in enumerate(by_count) if abs(a - first).max() < 1 and abs(b - second).max() < 1][:1]
        counts.add(fits)
    assert counts == {0, 1, 2}


def test_rewards_are_clipped_for_learning_alone():
    """Ms. Pac-Man is paid 10 for a dot, and in Pong points are lost as well."""
    for game, n_actions, rewards, scores in (("ms_pacman", 9, {0, 1}, {0, 10}), ("pong", 6, {-1, 0}, {-1, 0})):
        ours = games(game)
        ours.reset()
        paid = [(float(now.reward[0]), float(now.score[0])) for now in map(ours.step, acts(100, 1, n_actions))]
        assert {reward for reward, _ in paid} == rewards
        assert {score for _, score in paid} >= scores
        assert all(reward == np.clip(score, -1, 1) for reward, score in paid)


@pytest.mark.slow
def test_games_can_be_brought_back_to_where_they_stand(monkeypatch):
    """Also those that were seeded anew at different times; snapshots go by way of JSON, as in a checkpoint."""
    monkeypatch.setattr(atari, "SEEDED_EVERY", 40)
    options = {"repeat_action_probability": 0.25, "protocol": "nature", "max_num_frames_per_episode": 4 * 25}
    ours, again = (games("breakout", 2, **options) for _ in range(2))
    seen = ours.reset()
    for t, actions in enumerate(acts(110, 2, 4)):
        if t == 15:
            ours.begin_anew(np.array([False, True]))
        seen = ours.step(actions).observation
    arrays, data = ours.snapshot()
    assert min(data["episodes"]) > 0
    assert len(set(data["taken"])) > 1
    np.testing.assert_array_equal(again.restore(arrays, json.loads(json.dumps(data)), seen), seen)
    assert again.taken == ours.taken
    for actions in acts(70, 2, 4, seed=1):
        one, other = ours.step(actions), again.step(actions)
        for mine, theirs in zip(one, other, strict=True):
            np.testing.assert_array_equal(mine, theirs)
    assert again.episodes == ours.episodes


@pytest.mark.parametrize("actions", [np.zeros(2, np.uint8), np.full(3, 9, np.uint8), np.zeros(3, np.float32)])
def test_actions_of_a_checkpoint_that_cannot_be_are_refused(actions):
    with pytest.raises(tegu.TeguError, match="does not hold 3 actions of the game"):
        games("pong").restore({"actions/0": actions}, {"episodes": [0], "taken": [3]}, None)


@pytest.mark.slow
def test_one_game_has_its_own_rewards_and_pictures_of_what_is_observed():
    """The screen in colour, made grey, pooled as it is and shrunk, is the newest frame."""
    made = find("ALE/SpaceInvaders-v5", options={"render_mode": "rgb_array", "protocol": "nature"}).make
    game = made()
    assert isinstance(game.observation_space, FrameStack)
    seen, _ = game.reset(seed=7)
    total, lives, done, steps = 0.0, 0, False, 0
    while not done:
        picture = game.render()
        assert picture.shape == (210, 160, 3)
        grey = (picture * [0.299, 0.587, 0.114]).sum(axis=2)
        assert abs(shrunk(grey) - seen[-1]).max() < 4  # pooled in colour, not in grey
        seen, reward, terminated, truncated, info = game.step(steps % 6)
        total, lives, done, steps = total + reward, lives + info["lost_life"], terminated or truncated, steps + 1
    game.close()
    assert total > 20
    assert lives == 2
    assert picture.dtype == np.uint8


def test_every_game_has_a_name():
    assert find("ALE/Tetris-v5").backend == "ale"
    found = {name for name in names() if name.startswith("ALE/")}
    assert len(found) > 100
    assert {"ALE/Pong-v5", "ALE/MontezumaRevenge-v5", "ALE/Tetris-v5"} <= found
    assert find("ALE/Tetris-v5", "gymnasium").make().observation_space.shape == (210, 160, 3)


def test_the_protocols_are_those_of_the_papers():
    """Machado et al. (2018), table 5 and section 5; Mnih et al. (2015), methods."""
    machado, nature, v5 = (AtariOptions.of("pong", {"protocol": name}) for name in ("machado", "nature", "v5"))
    assert list(PROTOCOLS) == ["v5", "machado", "nature"]
    assert (machado.repeat_action_probability, machado.full_action_space, machado.episodic_life) == (0.25, True, False)
    assert (machado.max_num_frames_per_episode, machado.noop_max) == (18_000, 0)
    assert (nature.repeat_action_probability, nature.full_action_space, nature.episodic_life) == (0.0, False, True)
    assert (nature.max_num_frames_per_episode, nature.noop_max) == (108_000, 30)
    registered = find("ALE/Pong-v5", "gymnasium").make().spec.kwargs
    for name in ("repeat_action_probability", "full_action_space", "frameskip", "max_num_frames_per_episode"):
        assert getattr(v5, name) == registered[name]
    assert AtariOptions.of("pong", {"protocol": "nature", "noop_max": 7}).noop_max == 7


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        (
            "ALE/Pong-v5",
            {"protocol": "mnih"},
            "protocol of an Atari game must be one of v5, machado, nature, got 'mnih'",
        ),
        ("ALE/Pong-v5", {"sticky": 0.25}, "Atari games have no option sticky: expected protocol, repeat_action_prob"),
        ("ALE/Pong-v5", {"repeat_action_probability": 25}, "must be a number from 0 to 1, got 25"),
        ("ALE/Pong-v5", {"episodic_life": 1}, "episodic_life of an Atari game must be true or false, got 1"),
        ("ALE/Pong-v5", {"frameskip": 0}, "frameskip of an Atari game must be a whole number from 1 to"),
        ("ALE/Pong-v5", {"noop_max": -1}, "noop_max of an Atari game must be a whole number from 0 to"),
        ("ALE/Pong-v5", {"render_mode": "human"}, "render_mode of an Atari game must be rgb_array, got 'human'"),
        ("ALE/Pongg-v5", {}, "there is no environment ALE/Pongg-v5; did you mean ALE/Pong-v5"),
    ],
)
def test_wrong_options_are_named_in_one_line(name, options, says, tmp_path):
    with pytest.raises(tegu.TeguError, match=says) as caught:
        tegu.train(name, "dqn", environment_options=options, folder=tmp_path)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_other_environments_are_no_games_of_ale():
    with pytest.raises(tegu.TeguError, match="Blackjack-v1 is not a game of the Arcade Learning Environment"):
        find("Blackjack-v1", "ale")


def test_without_ale_py_one_line_says_how_to_get_it(monkeypatch):
    real = importlib.import_module
    monkeypatch.setattr(
        importlib, "import_module", lambda name, *rest: real("ale_py_that_is_missing" if name == "ale_py" else name)
    )
    monkeypatch.setattr("gymnasium.registry", {})
    with pytest.raises(tegu.TeguError, match=r"ALE/Pong-v5 needs tegu\[atari\]: pip install 'tegu\[atari\]'"):
        find("ALE/Pong-v5")


OPTIONS = {"protocol": "nature", "max_num_frames_per_episode": 4 * 100, "img_height": 21, "img_width": 21}
SETTINGS: dict[str, Any] = {"n_envs": 2, "train_freq": 8, "learning_starts": 64, "batch_size": 4, "net_arch": (4,)}
SETTINGS |= {"buffer_size": 160, "log_interval": 200, "checkpoint_every": 0.0, "environment_options": OPTIONS}
SETTINGS |= {"exploration_final_eps": 1.0, "gradient_steps": 1}


@pytest.mark.slow
def test_training_and_evaluation_report_the_game_s_own_returns():
    """Of whole games: clipped rewards would add up to 1 for each invader, and lost lives would be ends."""
    found = []
    given = {"folder": None, "steps": 400, "callbacks": lambda progress: found.extend(progress.metrics)}
    agent = tegu.train("ALE/SpaceInvaders-v5", "dqn", **SETTINGS | given)
    ended = [metrics for metrics in found if "rollout/ep_len_mean" in metrics]
    assert {metrics["rollout/ep_len_mean"] for metrics in ended} == {100}
    assert max(metrics["rollout/ep_rew_mean"] for metrics in ended) >= 10
    evaluation = agent.evaluate(2, deterministic=False)
    assert (evaluation.lengths == 100).all()
    assert (evaluation.returns % 5 == 0).all()


@pytest.mark.long
def test_a_stopped_run_ends_as_if_it_had_never_stopped(tmp_path):
    given = SETTINGS | {"steps": 1600}
    whole = tegu.train("ALE/SpaceInvaders-v5", "dqn", folder=tmp_path / "one", **given).run
    halves = stopped_and_resumed("ALE/SpaceInvaders-v5", "dqn", folder=tmp_path / "two", **given)
    assert_same(everything(halves), everything(whole))
    np.testing.assert_array_equal(tegu.load(halves).evaluate(2).returns, tegu.load(whole).evaluate(2).returns)
