"""Tegu's algorithms by name: where each one is, and its variants as other defaults of the same class."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple


class Entry(NamedTuple):
    """Where an algorithm is, and the defaults in which a variant differs from the class's own."""

    path: str  #: ``module:Class``
    public: str  #: what it is called in ``tegu``
    defaults: Mapping[str, Any] = MappingProxyType({})  #: as plain data
    summary: str = ""  #: a variant in one line; the class's docstring says what the class itself is


_SARSA = "tegu.algorithms.sarsa:Sarsa"
_DQN = "tegu.algorithms.dqn:DQN"
_PPO = "tegu.algorithms.ppo:PPO"
_TRPO = "tegu.algorithms.trpo:TRPO"
_DDPG = "tegu.algorithms.ddpg:DDPG"
_SAC = "tegu.algorithms.sac:SAC"
_MPC = "tegu.algorithms.mpc:MPC"
_MADDPG = "tegu.algorithms.maddpg:MADDPG"
_IPPO = "tegu.algorithms.mappo:IPPO"

ALGORITHMS: dict[str, Entry] = {
    "q-learning": Entry("tegu.algorithms.q_learning:QLearning", "QLearning"),
    "sarsa": Entry(_SARSA, "Sarsa"),
    "n-step-sarsa": Entry(
        _SARSA,
        "NStepSarsa",
        {"n_steps": 4},
        "Sarsa with returns of up to four rewards (Sutton & Barto 2018, section 7.2).",
    ),
    "expected-sarsa": Entry(
        _SARSA,
        "ExpectedSarsa",
        {"expected": True},
        "Sarsa with the mean over the next action in place of the one that is taken (van Seijen et al. 2009).",
    ),
    "double-q-learning": Entry("tegu.algorithms.double_q_learning:DoubleQLearning", "DoubleQLearning"),
    "q-lambda": Entry("tegu.algorithms.q_lambda:QLambda", "QLambda"),
    "monte-carlo": Entry("tegu.algorithms.monte_carlo:MonteCarlo", "MonteCarlo"),
    "dyna-q": Entry("tegu.algorithms.dyna_q:DynaQ", "DynaQ"),
    "prioritized-sweeping": Entry("tegu.algorithms.prioritized_sweeping:PrioritizedSweeping", "PrioritizedSweeping"),
    "adaptive-dp": Entry("tegu.algorithms.adaptive_dp:AdaptiveDP", "AdaptiveDP"),
    "dqn": Entry(_DQN, "DQN"),
    "double-dqn": Entry(
        _DQN, "DoubleDQN", {"double": True}, "DQN whose online network chooses in the target (van Hasselt et al. 2016)."
    ),
    "dueling-dqn": Entry(
        _DQN, "DuelingDQN", {"dueling": True}, "DQN with a network of state values and advantages (Wang et al. 2016)."
    ),
    "prioritized-dqn": Entry(
        _DQN, "PrioritizedDQN", {"prioritized": True}, "DQN that replays large errors more often (Schaul et al. 2016)."
    ),
    "noisy-dqn": Entry(
        _DQN, "NoisyDQN", {"noisy": True}, "DQN that explores by learned noise in its weights (Fortunato et al. 2018)."
    ),
    "c51": Entry(
        _DQN, "C51", {"distribution": "categorical"}, "DQN of probabilities of 51 returns (Bellemare et al. 2017)."
    ),
    "qr-dqn": Entry(
        _DQN, "QRDQN", {"distribution": "quantiles"}, "DQN of quantiles of the return (Dabney et al. 2018a)."
    ),
    "iqn": Entry(
        _DQN,
        "IQN",
        {"distribution": "implicit-quantiles", "n_quantiles": 64},
        "DQN of any quantile of the return, which is an input of its network (Dabney et al. 2018b).",
    ),
    "munchausen-dqn": Entry(
        _DQN,
        "MunchausenDQN",
        {"munchausen": True},
        "DQN with a soft policy, whose log-probability is added to the reward (Vieillard et al. 2020).",
    ),
    "munchausen-iqn": Entry(
        _DQN,
        "MunchausenIQN",
        {"munchausen": True, "distribution": "implicit-quantiles", "n_quantiles": 64},
        "IQN with the soft policy and the reward of Munchausen DQN (Vieillard et al. 2020).",
    ),
    "rainbow": Entry(
        _DQN,
        "Rainbow",
        {
            "double": True,
            "dueling": True,
            "prioritized": True,
            "prioritized_alpha": 0.5,
            "n_steps": 3,
            "noisy": True,
            "distribution": "categorical",
        },
        "Double, dueling, prioritized, 3-step, noisy and categorical DQN at once (Hessel et al. 2018).",
    ),
    "r2d2": Entry("tegu.algorithms.r2d2:R2D2", "R2D2"),
    "pqn": Entry("tegu.algorithms.pqn:PQN", "PQN"),
    "ars": Entry("tegu.algorithms.ars:ARS", "ARS"),
    "cem": Entry("tegu.algorithms.cem:CEM", "CEM"),
    "openai-es": Entry("tegu.algorithms.evolution_strategy:OpenAIES", "OpenAIES"),
    "cma-es": Entry("tegu.algorithms.cma_es:CMAES", "CMAES"),
    "ppo": Entry(_PPO, "PPO"),
    "recurrent-ppo": Entry(
        _PPO, "RecurrentPPO", {"recurrent": "lstm"}, "PPO whose actor and critic remember, each with an LSTM or a GRU."
    ),
    "a2c": Entry("tegu.algorithms.a2c:A2C", "A2C"),
    "reinforce": Entry("tegu.algorithms.reinforce:REINFORCE", "REINFORCE"),
    "trpo": Entry(_TRPO, "TRPO"),
    "npg": Entry(
        _TRPO,
        "NPG",
        {"line_search": False},
        "TRPO without its line search: the natural policy gradient (Kakade 2001), as long as the trust region allows.",
    ),
    "ddpg": Entry(_DDPG, "DDPG"),
    "td3": Entry(
        _DDPG,
        "TD3",
        {"n_critics": 2, "policy_delay": 2, "target_policy_noise": 0.2},
        "DDPG with two critics, a later actor and a smoothed target (Fujimoto et al. 2018).",
    ),
    "mve-ddpg": Entry(
        _DDPG,
        "MVEDDPG",
        {"model_steps": 3, "tau": 0.01, "gradient_steps": 4, "batch_size": 64, "net_arch": [64, 64]},
        "DDPG whose critic learns from returns that a learned model imagines (Feinberg et al. 2018).",
    ),
    "sac": Entry(_SAC, "SAC"),
    "tqc": Entry(
        _SAC,
        "TQC",
        {"n_quantiles": 25},
        "SAC with critics of quantiles, the largest of which are left out (Kuznetsov et al. 2020).",
    ),
    "redq": Entry(
        _SAC,
        "REDQ",
        {
            "n_critics": 10,
            "target_subset": 2,
            "actor_value": "mean",
            "policy_delay": 20,
            "gradient_steps": 20,
            "learning_starts": 5_000,
        },
        "SAC with ten critics, random two of them in each target, and 20 updates per step (Chen et al. 2021).",
    ),
    "droq": Entry(
        _SAC,
        "DroQ",
        {
            "critic_dropout": 0.01,
            "critic_layer_norm": True,
            "actor_value": "mean",
            "policy_delay": 20,
            "gradient_steps": 20,
            "learning_starts": 5_000,
        },
        "SAC whose critics have dropout and layer normalisation, with 20 updates per step (Hiraoka et al. 2022).",
    ),
    "crossq": Entry(
        _SAC,
        "CrossQ",
        {
            "batch_norm": True,
            "learning_rate": 1e-3,
            "adam_b1": 0.5,
            "policy_delay": 3,
            "critic_arch": (2048, 2048),
            "learning_starts": 5_000,
        },
        "SAC with batch renormalisation in place of target networks (Bhatt et al. 2024).",
    ),
    "simba": Entry(
        _SAC,
        "SimBa",
        {
            "architecture": "simba",
            "normalize_observation": True,
            "net_arch": (128,),
            "critic_arch": (512, 512),
            "learning_rate": 1e-4,
            "weight_decay": 1e-2,
            "ent_coef": "auto_0.01",
            "gradient_steps": 2,
            "learning_starts": 5_000,
        },
        "SAC with residual networks and standardised observations, with two updates per step (Lee et al. 2025).",
    ),
    "mpc": Entry(_MPC, "MPC"),
    "random-shooting": Entry(
        _MPC,
        "RandomShooting",
        {
            "model": "learned",
            "planner": "random",
            "horizon": 20,
            "n_candidates": 1000,
            "n_particles": 1,
            "ensemble_size": 1,
            "probabilistic": False,
            "net_arch": (500, 500),
            "activation": "relu",
        },
        "MPC with a network that learns the environment, and random sequences (Nagabandi et al. 2018).",
    ),
    "pets": Entry(
        _MPC,
        "PETS",
        {"model": "learned"},
        "MPC with an ensemble of probabilistic networks that learn the environment (Chua et al. 2018).",
    ),
    "mbpo": Entry("tegu.algorithms.mbpo:MBPO", "MBPO"),
    "mbmf": Entry("tegu.algorithms.mbmf:MBMF", "MBMF"),
    "i2a": Entry("tegu.algorithms.i2a:I2A", "I2A"),
    "td-mpc2": Entry("tegu.algorithms.tdmpc2:TDMPC2", "TDMPC2"),
    "dreamer": Entry("tegu.algorithms.dreamer:Dreamer", "Dreamer"),
    "world-models": Entry("tegu.algorithms.world_models:WorldModels", "WorldModels"),
    "muzero": Entry("tegu.algorithms.muzero:MuZero", "MuZero"),
    "alphazero": Entry("tegu.algorithms.alphazero:AlphaZero", "AlphaZero"),
    "alphago": Entry("tegu.algorithms.alphago:AlphaGo", "AlphaGo"),
    "maddpg": Entry(_MADDPG, "MADDPG"),
    "matd3": Entry(
        _MADDPG,
        "MATD3",
        {"twin": True, "policy_delay": 2, "target_noise": 0.2},
        "MADDPG with two critics, later actors and a smoothed target (Ackermann et al. 2019).",
    ),
    "iddpg": Entry(
        _MADDPG,
        "IndependentDDPG",
        {"centralised": False},
        "DDPG for each agent on its own, the baseline of MADDPG's paper: critics see no other agent.",
    ),
    "ippo": Entry(_IPPO, "IPPO"),
    "mappo": Entry(
        _IPPO, "MAPPO", {"centralised": True}, "IPPO whose value functions see what all agents see (Yu et al. 2022)."
    ),
}
