"""Tables of contrasts over worlds with known components, and cells with a planted law."""

import numpy as np
import pandas as pd

from afd_study.evaluation.when import DIAGNOSTICS, RIVALS


def contrast(
    worlds=24, seeds=2, replicates=4, *, tau=0.1, seed=0.05, replicate=0.1, effect=0.2, web_ends=0.0, number=0
):
    """Return rows of one contrast in the balanced design; `web_ends` is half of what that property makes."""
    rng = np.random.default_rng(number)
    rows = []
    for w in range(worlds):
        kinds, good, ends = 1 + (w & 1), bool(w & 2), bool(w & 4)
        in_world = effect + (web_ends if ends else -web_ends) + tau * rng.standard_normal()
        for s in range(seeds):
            in_seed = in_world + seed * rng.standard_normal()
            for k in range(replicates):
                value = in_seed + replicate * rng.standard_normal()
                rows.append((f"w{w:02d}", kinds, good, ends, s, k, value, 2.0))
    names = ["world", "kinds", "likely_good", "web_ends", "seed", "replicate", "effect", "gap"]
    return pd.DataFrame(rows, columns=names)


def law_cells(worlds=12, levels=3, *, noise=0.02, number=0):
    """Return cells whose leads follow auc_init_demo (slope 1) and auc_init_sft (-0.6), .1 more a rival."""
    rng = np.random.default_rng(number)
    n = worlds * levels
    cells = pd.DataFrame({name: rng.uniform(0.5, 1.0, n) for name in DIAGNOSTICS})
    cells["world"] = np.repeat([f"w{i:02d}" for i in range(worlds)], levels)
    planted = (cells["auc_init_demo"] - 0.75) - 0.6 * (cells["auc_init_sft"] - 0.75)
    for i, rival in enumerate(RIVALS):
        cells[f"lead_over_{rival}"] = 0.1 * i + planted + noise * rng.standard_normal(n)
    return cells
