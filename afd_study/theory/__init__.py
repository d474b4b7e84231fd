"""What is matched: divergences, objectives and estimators as pure tensors, exact in float64."""
