"""Sokoban: the game, its levels as text and generated, and a solver."""
