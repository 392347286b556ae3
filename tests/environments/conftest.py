import pytest

from tegu.environments.acrobot import Acrobot
from tegu.environments.cartpole import CartPole
from tegu.environments.cliff_walking import CliffWalking
from tegu.environments.frozen_lake import FrozenLake
from tegu.environments.lizard import Lizard
from tegu.environments.mountain_car import MountainCar, MountainCarContinuous
from tegu.environments.pendulum import Pendulum
from tegu.environments.taxi import Taxi

ENVIRONMENTS = [
    CartPole(),
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
]


@pytest.fixture(params=ENVIRONMENTS, ids=lambda environment: environment.id)
def environment(request):
    return request.param
