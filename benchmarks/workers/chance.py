"""The mean return of random actions."""

import gymnasium
from meter import report, settings


def main() -> None:
    given = settings()
    environment = gymnasium.make(given["environment"], disable_env_checker=True)
    environment.action_space.seed(given["seed"])
    total = 0.0
    for episode in range(given["episodes"]):
        environment.reset(seed=given["seed"] + episode)
        ended = False
        while not ended:
            _, reward, terminated, truncated, _ = environment.step(environment.action_space.sample())
            total, ended = total + float(reward), terminated or truncated
    report({"score": total / given["episodes"]})


main()
