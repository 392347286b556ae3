"""Cooperative navigation: three agents learn with MAPPO to cover three landmarks."""

import tegu


def main():
    environment = tegu.make("simple_spread_v3")
    print(f"{environment.id}: {', '.join(environment.agents)}")

    settings = {"n_envs": 16, "n_steps": 50, "batch_size": 480, "learning_rate": "lin_2e-3", "share_parameters": True}
    agent = tegu.train("simple_spread_v3", "mappo", steps=200_000, **settings)

    score = agent.evaluate(episodes=200)
    distance, collisions = (score.measures[name].mean() for name in ("distance/end", "collisions/mean"))
    print(f"mean return {score.mean:.1f}, {collisions:.2f} collisions per step")
    print(f"at the end the landmarks are {distance:.2f} from the nearest agents, all three together")


if __name__ == "__main__":
    main()
