"""Tegu's own environments by name: where they are, and what their names stand for."""

import re
from typing import Any

NATIVE = {
    "lizard": "tegu.environments.grids.lizard:Lizard",
    "CartPole-v1": "tegu.environments.classic.cartpole:CartPole",
    "Acrobot-v1": "tegu.environments.classic.acrobot:Acrobot",
    "MountainCar-v0": "tegu.environments.classic.mountain_car:MountainCar",
    "MountainCarContinuous-v0": "tegu.environments.classic.mountain_car:MountainCarContinuous",
    "Pendulum-v1": "tegu.environments.classic.pendulum:Pendulum",
    "FrozenLake-v1": "tegu.environments.grids.frozen_lake:FrozenLake",
    "FrozenLake8x8-v1": "tegu.environments.grids.frozen_lake:FrozenLake",
    "CliffWalking-v1": "tegu.environments.grids.cliff_walking:CliffWalking",
    "CliffWalkingSlippery-v1": "tegu.environments.grids.cliff_walking:CliffWalking",
    "Taxi-v4": "tegu.environments.grids.taxi:Taxi",
    "TMaze-v0": "tegu.environments.memory.t_maze:TMaze",
    "CartPolePixels-v0": "tegu.environments.pixels.cartpole:CartPolePixels",
    "BitFlip-v0": "tegu.environments.goals.bit_flip:BitFlip",
    "MinAtar/Asterix-v0": "tegu.environments.minatar.asterix:Asterix",
    "MinAtar/Asterix-v1": "tegu.environments.minatar.asterix:Asterix",
    "MinAtar/Breakout-v0": "tegu.environments.minatar.breakout:Breakout",
    "MinAtar/Breakout-v1": "tegu.environments.minatar.breakout:Breakout",
    "MinAtar/Freeway-v0": "tegu.environments.minatar.freeway:Freeway",
    "MinAtar/Freeway-v1": "tegu.environments.minatar.freeway:Freeway",
    "MinAtar/Seaquest-v0": "tegu.environments.minatar.seaquest:Seaquest",
    "MinAtar/Seaquest-v1": "tegu.environments.minatar.seaquest:Seaquest",
    "MinAtar/SpaceInvaders-v0": "tegu.environments.minatar.space_invaders:SpaceInvaders",
    "MinAtar/SpaceInvaders-v1": "tegu.environments.minatar.space_invaders:SpaceInvaders",
    "Sokoban-7x7-v0": "tegu.environments.sokoban.game:Sokoban",
    "Sokoban-10x10-v0": "tegu.environments.sokoban.game:Sokoban",
    "MiniPacman-v0": "tegu.environments.mini_pacman.game:MiniPacman",
    "simple_v3": "tegu.environments.particle.simple:Simple",
    "simple_spread_v3": "tegu.environments.particle.spread:Spread",
    "simple_speaker_listener_v4": "tegu.environments.particle.speaker_listener:SpeakerListener",
    "simple_reference_v3": "tegu.environments.particle.reference:Reference",
    "simple_adversary_v3": "tegu.environments.particle.adversary:Adversary",
    "simple_push_v3": "tegu.environments.particle.push:Push",
    "simple_tag_v3": "tegu.environments.particle.tag:Tag",
    "simple_crypto_v3": "tegu.environments.particle.crypto:Crypto",
    "simple_world_comm_v3": "tegu.environments.particle.world_comm:WorldComm",
    "hide-and-seek-tiny": "tegu.environments.hide_and_seek.game:HideAndSeek",
    "hide-and-seek-quadrant": "tegu.environments.hide_and_seek.game:HideAndSeek",
    "tic-tac-toe": "tegu.environments.games.tic_tac_toe:TicTacToe",
    "connect-four": "tegu.environments.games.connect_four:ConnectFour",
    **{f"go-{size}x{size}": "tegu.environments.games.go:Go" for size in (5, 7, 9, 13, 19)},
}
"""Tegu's environments in pure JAX. The names are Gymnasium's where both have the environment."""

OPTIONS: dict[str, dict[str, Any]] = {
    "FrozenLake8x8-v1": {"map_name": "8x8"},
    "CliffWalkingSlippery-v1": {"is_slippery": True},
    "Sokoban-10x10-v0": {"size": 10, "boxes": 4, "id": "Sokoban-10x10-v0"},
    "hide-and-seek-quadrant": {
        "id": "hide-and-seek-quadrant",
        **{"hiders": 2, "seekers": 2, "boxes": 2, "ramps": 1, "hiders_anywhere": True},
        **{"floor": 6.0, "room_left": 3.0, "room_top": 3.0, "door": 0.4, "one_door": 0.5},
        **{"horizon": 80, "n_buckets": 11, "n_lidar": 30, "max_force": 90.0, "substeps": 6},
        **{"lockable_ramps": False, "penalize_objects_out": True},
    },
    **{name: {"size": int(name.rpartition("x")[2]), "id": name} for name in NATIVE if name.startswith("go-")},
    **{name: {"use_minimal_action_set": True, "id": name} for name in NATIVE if re.fullmatch("MinAtar/.*-v1", name)},
}
