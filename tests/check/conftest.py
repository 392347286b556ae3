import pytest
from environments.conftest import ENVIRONMENTS

# MinAtar's games are checked alike: one of them, and the others by ``make test-long``.
ALIKE = [each.id for each in ENVIRONMENTS if each.id.startswith("MinAtar/") and "Breakout" not in each.id]


@pytest.fixture(
    params=[pytest.param(each, id=each.id, marks=[pytest.mark.long] * (each.id in ALIKE)) for each in ENVIRONMENTS]
)
def environment(request):
    return request.param
