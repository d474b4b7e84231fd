"""Where: prompts, demonstrations, preferences, and a judge where the truth is known."""
