"""What a value network says of the return of each action: its mean, or its whole distribution.

One file for each kind, all with the functions of ``ReturnDistribution``.
"""

from tegu.algorithms.return_distributions.base import ReturnDistribution
from tegu.algorithms.return_distributions.categorical import Categorical
from tegu.algorithms.return_distributions.expectation import Expectation
from tegu.algorithms.return_distributions.implicit_quantiles import ImplicitQuantiles
from tegu.algorithms.return_distributions.quantiles import Quantiles

__all__ = ["Categorical", "Expectation", "ImplicitQuantiles", "Quantiles", "ReturnDistribution"]
