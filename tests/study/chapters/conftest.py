"""What tests of chapters share: a store with smoke studies, a folder of results, made-up tables."""

import numpy as np
import pandas as pd
import pytest

from afd_study.evaluation.claim_effects import VALUE_COLUMNS
from afd_study.evaluation.claims import load_ledger
from afd_study.evaluation.sizes import SIZES
from afd_study.study.chapters import claims

WORTH = {
    "random": 0.0,
    "oracle": 2.0,
    "init_sft": 1.0,
    "pi_sft": 0.1,
    "demonstrations": 0.5,
    "pi_init": 0.0,
}  # judge points; every other method has .8


@pytest.fixture(scope="session")
def ledger_values():
    """Table `values` of every cell of the ledger by task: Init-SFT leads by a tenth of the gap or so."""

    def values(task, methods=claims.METHODS):
        rules, rng, rows = load_ledger(), np.random.default_rng(0), []
        for setting in rules.settings:
            for seed in rules.seeds:
                front = (task, setting, seed)
                for method in methods:
                    points = WORTH.get(method, 0.8) + 0.01 * rng.normal()
                    rows += [(*front, "outcomes", "judge", method, n, points) for n in SIZES]
                    rows.append((*front, "win_rates", "win_rate_over_pi_sft", method, 16, 0.8))
                    for metric in ("auc", "auc_without_length"):
                        rows.append((*front, "separability", metric, method, 0, 0.6 + 0.1 * rng.random()))
                    for metric in ("without_length_and_style", "with_closed_form"):
                        rows.append((*front, "probes", f"rank_correlation_{metric}", method, 0, 0.3))
                rows.append((*front, "coverage", "coverage", "pi_sft", 0, 0.9))
        return pd.DataFrame(rows, columns=list(VALUE_COLUMNS))

    return values


@pytest.fixture(scope="session")
def made_up(ledger_values):
    """Table `values` of every cell of the ledger, of all its tasks."""
    return pd.concat([ledger_values(task) for task in load_ledger().tasks], ignore_index=True)


@pytest.fixture(scope="session")
def benchmark_records():
    """Table `records` of four benchmarks at two models, the larger at twice the smaller's share of peak."""
    shares = {"sft": 0.5, "reward_model": 0.4, "sampling": 0.1, "scoring": 0.25}
    rows = [
        {"name": name, "model": model, "share_of_peak": part}
        for name, share in shares.items()
        for model, part in (("1M", share / 2), ("10M", share))
    ]
    times = {"peer_name": "TRL", "ours": 1.0, "peer": 2.0, "ratio": 2.0, "ratio_low": 1.5, "ratio_high": 2.5}
    return pd.DataFrame(rows).assign(**times)
