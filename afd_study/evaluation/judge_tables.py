"""Columns of the tables about several judges, and about rules on people's own pairs (see records.py).

They join `records.TABLES` here and do not stand in records.py. Every step's key covers that module, and a
line more in it would have every study computed again. The steps that write these tables import this one.
"""

from afd_study.records import TABLES, Table

_BOUNDS = ("low", "high", "interval")
_ACCURACY = Table(("stratum", "rule", "accuracy", *_BOUNDS, "n_pairs", "n_groups"), ("stratum", "rule"))

JUDGE_TABLES: dict[str, Table] = {
    # how often a rule prefers the answer that a person preferred, ties half; in strata of length
    "pair_agreement": _ACCURACY,
    # the same less another rule's, on the same pairs; verdict: higher, lower, open, or not in this study
    "pair_differences": Table(
        ("stratum", "rule", "less_rule", "value", *_BOUNDS, "n_pairs", "n_groups", "verdict"),
        ("stratum", "rule", "less_rule"),
        ("value", "low", "high"),
    ),
    # how often each judge agrees with people on pairs that it has not seen, beside longer and shorter
    "judges": _ACCURACY,
    # a contrast of two rules at n under each judge, in the judge's own points; spread: the standard deviation
    # of its points within prompts; side: where this judge's interval lies; verdict: what all judges say
    "judges_agree": Table(
        (
            *("method", "less_method", "n", "judge", "value", *_BOUNDS, "spread"),
            *("n_prompts", "n_groups", "side", "verdict"),
        ),
        ("method", "less_method", "n", "judge"),
        ("value", "low", "high", "spread"),
    ),
    # of the contrasts that could be formed: on how many the judges' effects have one sign, and on how many
    # their intervals lie on one side of 0 (settled)
    "judges_share": Table(
        ("n", "n_contrasts", "n_same_sign", "n_settled", "same_sign", "settled"),
        ("n",),
        ("same_sign", "settled"),
    ),
}
TABLES.update(JUDGE_TABLES)
