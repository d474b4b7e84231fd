"""The functions that a study runs: each reads its inputs' folders and writes its own."""
