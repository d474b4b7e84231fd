"""Which studies the frozen results consist of, what is kept of them, and how they are stored."""
