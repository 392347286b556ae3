"""A level of Sokoban, the actions that solve it, and a picture of the way."""

import jax
import numpy as np
from PIL import Image

import tegu
from tegu.environments.sokoban.solver import solve


def main():
    environment = tegu.make("Sokoban-10x10-v0", n_levels=8)
    state, _ = environment.reset(jax.random.key(0))
    actions = solve(np.asarray(state))
    print(environment.text(state))
    print(f"solved with {len(actions)} moves, the fewest pushes: {actions}")

    states, step = [state], jax.jit(environment.step)
    for action in actions:
        now = step(states[-1], action, jax.random.key(0))
        states.append(now.state)
    print(f"the last step pays {now.reward:.1f}, terminated {now.terminated}")

    shown = [environment.image(np.asarray(states[len(actions) * part // 3])) for part in range(4)]
    framed = [np.pad(image[::2, ::2], ((0, 0), (0, 8), (0, 0)), constant_values=255) for image in shown]
    Image.fromarray(np.concatenate(framed, axis=1)[:, :-8]).save("sokoban.png")


if __name__ == "__main__":
    main()
