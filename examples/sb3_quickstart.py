"""The quick start of Stable-Baselines3, with only its import changed."""

import gymnasium as gym

from tegu.sb3 import PPO


def main():
    env = gym.make("CartPole-v1", render_mode="rgb_array")

    model = PPO("MlpPolicy", env, verbose=1)
    model.learn(total_timesteps=10_000)

    vec_env = model.get_env()
    obs = vec_env.reset()
    for i in range(1000):  # noqa: B007
        action, _state = model.predict(obs, deterministic=True)
        obs, reward, done, info = vec_env.step(action)  # noqa: RUF059
        vec_env.render("human")
        # VecEnv resets automatically
        # if done:
        #   obs = vec_env.reset()


if __name__ == "__main__":
    main()
