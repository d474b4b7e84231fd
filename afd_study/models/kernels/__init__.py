"""Faster ways of the same numbers: delete this folder and results stay the same, up to rounding."""
