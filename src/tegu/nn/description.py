"""What a network is, in one line."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import jax

from tegu.nn.batch_norm import BatchNormMLP
from tegu.nn.custom import CustomNetwork
from tegu.nn.dueling import Dueling
from tegu.nn.encoder import Encoder
from tegu.nn.heads import ActionValue, CustomPolicy, DeterministicPolicy, QNetwork
from tegu.nn.implicit import ImplicitQuantileNetwork
from tegu.nn.mlp import MLP
from tegu.nn.noisy import NoisyNetwork
from tegu.nn.recurrent import GRU, LSTM, RecurrentQNetwork
from tegu.nn.residual import ResidualConv, ResidualMLP
from tegu.nn.return_network import ReturnNetwork
from tegu.nn.simba import SimBa
from tegu.nn.state_dependent_noise import StateDependentPolicy
from tegu.nn.stochastic_policy import CustomStochasticPolicy, StochasticPolicy

Networks = Sequence[tuple[str, Any]]  #: modules, or their shapes, each with its part: "actor", "critic" or nothing


def describe(networks: Networks) -> str:
    """``actor MLP 4-64-64-2, tanh; critic MLP 4-64-64-1, tanh; 9,155 parameters``; empty if there are none."""
    if not networks:
        return ""
    parts = Counter(f"{part} {title(network)}".strip() for part, network in networks)
    texts = [text if times == 1 else f"{times} x {text}" for text, times in parts.items()]
    count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves([network for _, network in networks]))
    return f"{'; '.join(texts)}; {count:,} parameters"


def title(network: Any) -> str:
    """A module without its number of parameters: its kind and its size, where it is one of ours."""
    match network:
        case MLP():
            sizes = [network.weights[0].shape[-2], *(weight.shape[-1] for weight in network.weights)]
            return f"MLP {'-'.join(map(str, sizes))}, {network.activation}"
        case BatchNormMLP():
            return f"{title(network.layers)}, batch renormalisation"
        case SimBa():
            sizes = [*network.first.weight.shape[-2:], network.last.weight.shape[-1]]
            return f"SimBa {'-'.join(map(str, sizes))} with {len(network.blocks)} blocks, {network.activation}"
        case ResidualMLP() | ResidualConv():
            return f"{type(network).__name__} with {len(network.blocks)} blocks of {network.first.bias.shape[-1]}"
        case QNetwork() | DeterministicPolicy() | StochasticPolicy() | StateDependentPolicy() | ActionValue():
            return ", ".join(filter(None, (network.encoder.title, title(network.mlp))))
        case RecurrentQNetwork():
            parts = network.encoder.title, title(network.body), title(network.lstm), title(network.head)
            return ", ".join(filter(None, parts))
        case LSTM():
            return f"LSTM {network.weight.shape[-1] // 4}"
        case GRU():
            return f"GRU {len(network.state_weight)}"
        case tuple():  # one after the other
            return ", ".join(filter(None, map(title, network)))
        case Encoder():
            return network.title
        case CustomPolicy() | CustomStochasticPolicy():
            return title(network.network)
        case ReturnNetwork():
            return ", ".join(filter(None, (network.encoder.title, title(network.body))))
        case NoisyNetwork():
            return f"noisy {title(network.mean)}"
        case Dueling():
            return f"{_after(network.shared)}value {title(network.value)} and advantage {title(network.advantage)}"
        case ImplicitQuantileNetwork():
            return f"{_after(network.shared)}quantile embedding of {network.cosines}, {title(network.head)}"
        case CustomNetwork():
            return network.structure.title
    return type(network).__name__


def _after(shared: MLP | None) -> str:
    return "" if shared is None else f"{title(shared)}, "
