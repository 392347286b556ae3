"""Train PPO on CartPole, ask it for an action, evaluate it, save it, load it."""

import gymnasium

import tegu


def main():
    agent = tegu.train("CartPole-v1", "ppo", steps=50_000)  # the preset's settings; the run is kept under runs/
    print(agent)

    # The agent plays in Gymnasium's own CartPole, too.
    environment = gymnasium.make("CartPole-v1")
    observation, _ = environment.reset(seed=1)
    action, _ = agent.predict(observation)
    print(f"at {observation[0]:.2f}, the pole leaning by {observation[2]:.2f}: push {('left', 'right')[action]}")

    score = agent.evaluate(episodes=100)  # fresh episodes, greedy
    print(f"mean return {score.mean:.0f} of 500, standard deviation {score.std:.0f}")

    agent.save("cartpole")
    again = tegu.load("cartpole")
    assert again.predict(observation)[0] == action
    print(f"loaded: {again}")


if __name__ == "__main__":
    main()
