"""Ledgers of one claim or several, for tests of how claims are read and judged."""

import pandas as pd
import yaml

HEAD = {
    "families": ["harmless", "helpful"],
    "level": 0.95,
    "n": 16,
    "smallest_gap": 0.3,
    "sizes": [2, 16],
    "margins": [0.0, 0.05],
    "groups": {},
    "settings": {"h = 0": {"world.heterogeneity": 0}, "h = 1": {"world.heterogeneity": 1}},
    "runs": {
        "scorers": {
            "worlds": "all",
            "seeds": [0],
            "settings": ["h = 0", "h = 1"],
            "wanted": ["outcomes"],
            "overrides": {"sampling.draws": 64},
        },
        "arms": {"worlds": "one a cell", "seeds": [0], "settings": ["h = 1"], "wanted": ["arms"]},
    },
}
"""All of a ledger but its claims."""
CLAIM = {
    "id": "X1",
    "sentence": "A beats B.",
    "source": "ours",
    "kind": "better",
    "method": "init_sft",
    "than": "random",
    "margin": 0.05,
    "settings": ["h = 1"],
}


def ledger_text(*claims, **changes):
    """A ledger of one claim with some of its fields replaced, or of several."""
    claims = claims or (changes,)
    return yaml.safe_dump(HEAD | {"claims": [CLAIM | each for each in claims]}, sort_keys=False)


WORLDS = range(24)
GAP = 2.0  # judge points from the random pick to the oracle
CELLS = [(kinds, good, ends) for kinds in (1, 2) for good in (False, True) for ends in (False, True)]
PLACES = pd.DataFrame(
    [CELLS[world % 8] for world in WORLDS],
    index=pd.Index(WORLDS, name="world"),
    columns=["kinds", "likely_good", "web_ends"],
)
"""The strata of a balanced design of drawn worlds, indexed by their number."""
