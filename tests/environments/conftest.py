import pytest

from tegu.environments.classic.acrobot import Acrobot
from tegu.environments.classic.cartpole import CartPole
from tegu.environments.classic.cartpole_swing_up import CartPoleSwingUp
from tegu.environments.classic.mountain_car import MountainCar, MountainCarContinuous
from tegu.environments.classic.pendulum import Pendulum
from tegu.environments.goals.bit_flip import BitFlip
from tegu.environments.grids.cliff_walking import CliffWalking
from tegu.environments.grids.frozen_lake import FrozenLake
from tegu.environments.grids.lizard import Lizard
from tegu.environments.grids.taxi import Taxi
from tegu.environments.memory.t_maze import TMaze
from tegu.environments.minatar.asterix import Asterix
from tegu.environments.minatar.breakout import Breakout
from tegu.environments.minatar.freeway import Freeway
from tegu.environments.minatar.seaquest import Seaquest
from tegu.environments.minatar.space_invaders import SpaceInvaders
from tegu.environments.mini_pacman.game import MiniPacman
from tegu.environments.pixels.cartpole import CartPolePixels
from tegu.environments.sokoban.game import Sokoban

ENVIRONMENTS = [
    CartPole(),
    CartPoleSwingUp(),
    Acrobot(),
    MountainCar(),
    MountainCarContinuous(),
    Pendulum(),
    Lizard(),
    FrozenLake(),
    FrozenLake("8x8"),
    CliffWalking(),
    CliffWalking(is_slippery=True),
    Taxi(),
    BitFlip(),
    TMaze(),
    CartPolePixels(),
    Asterix(),
    Breakout(),
    Freeway(),
    Seaquest(),
    SpaceInvaders(),
    Sokoban(n_levels=200),
    MiniPacman(),
]


@pytest.fixture(params=ENVIRONMENTS, ids=lambda environment: environment.id)
def environment(request):
    return request.param
