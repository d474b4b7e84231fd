"""How many responses picks are made from, wherever curves are kept or compared."""

SIZES = (1, 2, 4, 8, 16, 32, 50)
