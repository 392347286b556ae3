"""What a saved model keeps, open files, and training that goes on where it was left."""

import io
import tempfile

import numpy as np
import pytest

from tegu.core.errors import TeguError
from tegu.sb3 import A2C, SAC, DummyVecEnv, FakeImageEnv, IdentityEnv, IdentityEnvBox, MlpPolicy, get_system_info


def small_a2c(env="CartPole-v1", **more):
    return A2C("MlpPolicy", env, policy_kwargs={"net_arch": [4]}, n_steps=4, seed=0, **more)


def kept(file, **more):
    """A model that was read from a file's beginning."""
    return A2C.load(file, **more)


def test_a_model_keeps_what_is_no_hyper_parameter():
    file = io.BytesIO()
    model = small_a2c(verbose=0, stats_window_size=7, tensorboard_log="somewhere")
    model.verbose = 2
    model.save(file)
    model = kept(file)
    assert (model.verbose, model.stats_window_size, model.tensorboard_log) == (2, 7, "somewhere")
    assert kept(file, verbose=1).verbose == 1
    assert kept(file, custom_objects={"verbose": 1, "nonsense": 3}).verbose == 1


def test_exclude_leaves_out_and_include_takes_back():
    file, model = io.BytesIO(), small_a2c(verbose=2, stats_window_size=7)
    model.save(file, exclude=["verbose", "stats_window_size", "env", "logger"], include=["stats_window_size"])
    model = kept(file)
    assert (model.verbose, model.stats_window_size) == (0, 7)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"exclude": ["gamma"]}, r"save: gamma is always kept; load\(path, gamma=...\)"),
        ({"include": ["replay_buffer"]}, "save: include has replay_buffer, which is no setting"),
        ({"exclude": "verbose"}, "save: exclude must be a list of names, got the text 'verbose'"),
    ],
)
def test_what_cannot_be_left_out_or_taken_in_is_said(arguments, says, tmp_path):
    with pytest.raises(TeguError, match=says):
        small_a2c().save(tmp_path / "model", **arguments)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_open_files_are_written_and_read_and_stay_open():
    model = SAC("MlpPolicy", IdentityEnvBox(), buffer_size=20, policy_kwargs={"net_arch": [4]}, learning_starts=5)
    model.learn(10)
    with tempfile.TemporaryFile() as file:
        model.save(file)
        read = SAC.load(file)
        assert not file.closed
    np.testing.assert_array_equal(read.policy.parameters_to_vector(), model.policy.parameters_to_vector())
    file = io.BytesIO()
    model.policy.save(file)
    np.testing.assert_array_equal(MlpPolicy.load(file).parameters_to_vector(), model.policy.parameters_to_vector())
    rows = model.replay_buffer.observations.copy()
    file = io.BytesIO()
    model.save_replay_buffer(file)
    model.set_env(IdentityEnvBox())
    model.load_replay_buffer(file)
    np.testing.assert_array_equal(model.replay_buffer.observations, rows)
    with pytest.raises(TeguError, match="expected a binary file that is open for reading"):
        SAC.load(io.StringIO("text"))


class TestGoingOn:
    """``IdentityEnv`` is truncated after 10 steps: which steps end episodes tells where these began."""

    @staticmethod
    def vector(n=1):
        return DummyVecEnv([lambda: IdentityEnv(3, ep_length=10) for _ in range(n)])

    @pytest.mark.slow
    def test_episodes_go_on_where_training_left_them(self):
        vector = self.vector()
        model = small_a2c(vector).learn(4)
        seen, env = model._last_obs, vector.envs[0].unwrapped
        assert (env.current_step, int(seen[0])) == (4, int(env.state))
        model.set_env(vector, force_reset=False)
        np.testing.assert_array_equal(model._last_obs, seen)
        model.learn(4, reset_num_timesteps=False)
        assert (env.current_step, model.num_timesteps) == (8, 8)
        file = io.BytesIO()
        model.save(file)
        model = A2C.load(file, env=vector, force_reset=False).learn(4, reset_num_timesteps=False)
        assert (env.current_step, model.num_timesteps) == (2, 12)  # an episode of 10, and 2 steps

    def test_also_where_images_are_turned(self):
        """A model puts channels first, in a wrapper that the person does not see."""
        vector = DummyVecEnv([lambda: FakeImageEnv(screen_height=36, screen_width=36)])
        narrow = {"net_arch": [4], "features_extractor_kwargs": {"features_dim": 4}}
        model = A2C("CnnPolicy", vector, policy_kwargs=narrow, n_steps=4, seed=0).learn(4)
        seen = model._last_obs
        model.set_env(vector, force_reset=False)
        np.testing.assert_array_equal(model._last_obs, seen)

    @pytest.mark.parametrize("touch", [False, True])
    def test_or_begin_anew(self, touch):
        """As they do by default, and where somebody else has stepped the environment since."""
        vector = self.vector()
        model = small_a2c(vector).learn(4)
        if touch:
            vector.step([0])
        model.set_env(vector, force_reset=not touch)
        assert model._last_obs is None
        model.learn(4, reset_num_timesteps=False)
        assert vector.envs[0].unwrapped.current_step == 4

    def test_as_many_environments_as_before_unless_a_file_is_loaded(self):
        model, file = small_a2c(self.vector()), io.BytesIO()
        with pytest.raises(AssertionError, match="the model trains in 1 environments, these are 2: A2C"):
            model.set_env(self.vector(2))
        model.save(file)
        assert A2C.load(file, env=self.vector(2)).n_envs == 2


def test_versions_are_named(capsys):
    info, text = get_system_info()
    assert capsys.readouterr().out.strip() == text.strip()
    assert {"OS", "Python", "Tegu", "JAX", "Numpy", "Gymnasium"} == info.keys()
    assert get_system_info(print_info=False)[0] == info
    assert not capsys.readouterr().out
