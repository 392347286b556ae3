"""Tegu measured beside other libraries: same machine, same environment, same hyper-parameters, in turn.

``python -m benchmarks`` measures speed, ``python -m benchmarks.scores`` how well is learned. Both write figures to
``benchmarks/results/`` and put them into the table ``benchmarks/results/README.md``.
"""
