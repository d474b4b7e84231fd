"""Who speaks and who scores: policies, reward models, and the engine that trains and samples them."""
