"""How fast the engine is, beside what a user would take otherwise, and beside the machine's peak.

A benchmark is a `Pair`: the same useful work done by us and by a peer in its best configuration. Equality is
checked before any time is taken; then both run in turns, in one process (`timing.interleave`).
"""
