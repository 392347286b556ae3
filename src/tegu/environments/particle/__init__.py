"""The particle worlds of Lowe et al. (2017), with the rules of Farama's ``mpe2``."""
