"""How steps are wired: from a spec and a seed to everything that a study computes."""
