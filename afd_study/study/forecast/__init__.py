"""What a study takes, before it is run: work, memory, time and downloads."""
