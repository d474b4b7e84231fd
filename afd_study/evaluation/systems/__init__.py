"""Real systems: many models' answers to one set of prompts, ranked by discriminators beside a judge's verdicts."""
