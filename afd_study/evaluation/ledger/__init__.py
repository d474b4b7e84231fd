"""The ledger of claims, judged over many worlds: records, values, contrasts, verdicts."""
