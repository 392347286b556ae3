"""MPE, the multi-agent particle environments of Lowe et al. (2017), with the rules of Farama's ``mpe2``."""
