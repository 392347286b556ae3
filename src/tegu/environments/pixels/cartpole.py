"""Cart-pole seen by a camera: one grey picture, in which nothing moves."""

import math

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from tegu.core.errors import TeguError
from tegu.environments.base import Environment, Timestep
from tegu.environments.classic.cartpole import CartPole
from tegu.environments.drawing import PAPER, Canvas

VIEW = 1.2  #: half the picture's width, m
CART = 0.2, 0.12  #: half the cart's width and height, m
THICKNESS = 0.06  #: half the pole's thickness, m
SMALLEST, LARGEST = 8, 256  #: pixels of a side


class CartPolePixels(Environment):
    """Cart-pole whose observation is a grey picture ``[size, size, 1]`` uint8 of the cart and its pole.

    How fast the pole falls, without which it cannot be kept upright, is not in it: that must be remembered from the
    pictures before. The camera, whose picture is 2.4 m wide, follows the cart, and the track has no end. Else the
    physics are those of ``CartPole``, with a pole of 2 m. A push is held for ``frame_skip`` steps of 0.02 s. Each
    action pays 1, and an episode has at most 200. The state is that of ``CartPole``.
    """

    size: int = eqx.field(static=True, default=24)  #: pixels of a side
    frame_skip: int = eqx.field(static=True, default=2)  #: steps of the physics for each action
    length: float = 1.0  #: half the pole's length, m
    id: str = eqx.field(static=True, kw_only=True, default="CartPolePixels-v0")
    max_episode_steps: int | None = eqx.field(static=True, kw_only=True, default=200)

    def __post_init__(self) -> None:
        if not _whole(self.size) or not SMALLEST <= self.size <= LARGEST:
            raise TeguError(f"{self.id}: size must be from {SMALLEST} to {LARGEST} pixels, got {self.size!r}")
        if not _whole(self.frame_skip) or self.frame_skip < 1:
            raise TeguError(f"{self.id}: frame_skip must be a whole number from 1, got {self.frame_skip!r}")

        if not isinstance(self.length, int | float) or not 0 < self.length <= 1:
            raise TeguError(f"{self.id}: length must be above 0 and at most 1 m, got {self.length!r}")

    @property
    def physics(self) -> CartPole:
        return CartPole(x_threshold=math.inf, length=self.length)

    @property
    def observation_space(self) -> gymnasium.spaces.Box:
        return gymnasium.spaces.Box(0, 255, (self.size, self.size, 1), np.uint8)

    @property
    def action_space(self) -> gymnasium.spaces.Discrete:
        return gymnasium.spaces.Discrete(2)

    def reset(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        state, _ = self.physics.reset(key)
        return state, self.observe(state)

    def step(self, state: jax.Array, action: jax.Array, key: jax.Array) -> Timestep:
        """Nothing moves any more once the episode has ended within the push."""
        physics, ended = self.physics, jnp.zeros((), bool)
        for _ in range(self.frame_skip):
            after = physics.step(state, action, key)
            state, ended = jnp.where(ended, state, after.state), ended | after.terminated
        return Timestep(state, self.observe(state), jnp.float32(1), ended)

    def observe(self, state: jax.Array) -> jax.Array:
        """The picture of a state: cart and pole are white, with edges as soft as a pixel is wide.

        The lowest row of pixels is the track.
        """
        pixel = 2 * VIEW / self.size
        x = (jnp.arange(self.size) + 0.5) * pixel - VIEW  # from the cart, m
        y = ((jnp.arange(self.size) + 0.5) * pixel)[::-1, None]  # above the track, m
        half_width, half_height = CART
        cart = jnp.maximum(jnp.abs(x) - half_width, jnp.abs(y - half_height) - half_height)
        reach = 2 * self.length * jnp.stack([jnp.sin(state[2]), jnp.cos(state[2])])
        above = y - 2 * half_height
        along = jnp.clip((x * reach[0] + above * reach[1]) / (reach @ reach), 0, 1)
        pole = jnp.hypot(x - along * reach[0], above - along * reach[1]) - THICKNESS
        brightness = jnp.clip(0.5 - jnp.minimum(cart, pole) / pixel, 0, 1)
        return jnp.round(255 * brightness).astype(jnp.uint8)[..., None]

    def image(self, state: np.ndarray) -> np.ndarray:
        """What is observed, enlarged."""
        seen = np.asarray(self.observe(jnp.asarray(state)))[..., 0]
        side = 480 / self.size
        canvas = Canvas(480, 480, PAPER)
        for row, column in np.ndindex(seen.shape):
            shade = 255 - int(seen[row, column])
            canvas.rectangle((column * side, row * side, (column + 1) * side, (row + 1) * side), (shade, shade, shade))
        return canvas.array()

    def text(self, state: np.ndarray) -> str:
        """What is observed in shades of characters, two to a pixel."""
        seen = np.asarray(self.observe(jnp.asarray(state)))[..., 0]
        return "\n".join("".join(2 * " .:*#"[int(shade) * 5 // 256] for shade in row) for row in seen)


def _whole(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool)
