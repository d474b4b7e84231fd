"""How it is judged: judges, statistics and diagnostics."""
