"""Stable-Baselines3 keeps here what ``tegu.sb3`` has itself: importing this says so."""

from tegu.sb3 import __all__
from tegu.sb3.missing import missing

raise missing("common", __all__)
