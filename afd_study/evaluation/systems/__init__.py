"""Real systems: many models' answers to one set of prompts, ranked beside a judge's verdicts."""
