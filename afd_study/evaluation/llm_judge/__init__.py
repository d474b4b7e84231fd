"""A judge over the network: what it is asked, over which endpoint, and how its answers are read."""
