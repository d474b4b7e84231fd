import numpy as np
import pandas as pd
import pytest

from afd_study.errors import DataError, SpecError
from afd_study.evaluation import paper_orderings as od
from afd_study.evaluation.claims import load_ledger
from afd_study.evaluation.statistics import t_interval
from afd_study.records import TABLES


def outcomes(levels, *, n=16, seeds=(0, 1, 2), prompts=("p", "q")):
    """`levels`: method -> value for each seed; prompts differ by an offset."""
    return pd.DataFrame(
        [
            ("harmless", seed, method, n, prompt, "world", per_seed[i] + 10 * j)
            for method, per_seed in levels.items()
            for i, seed in enumerate(seeds)
            for j, prompt in enumerate(prompts)
        ],
        columns=TABLES["outcomes"].columns,
    )


LEVELS = {"random": [0, 0, 0], "oracle": [2, 2, 4], "init_sft": [1.0, 1.2, 2.2], "init_demo": [0.6, 0.8, 1.0]}
COMPARISON = od.Comparison("E4", "init_sft", "init_demo")


def judged(table, comparison=COMPARISON, **settings):
    return od.orderings(table, [comparison], generator=np.random.default_rng(0), **settings).iloc[0]


def test_effect_is_the_mean_share_of_each_seeds_gap():
    row = judged(outcomes(LEVELS))
    by_hand = t_interval([0.4 / 2, 0.4 / 2, 1.2 / 4])
    assert (row.effect, row.low, row.high) == pytest.approx(by_hand)
    assert row.difference == pytest.approx(2.0 / 3) and row.gap == pytest.approx(8 / 3)
    assert (row["interval"], row.n_seeds, row.n_prompts) == ("t over seeds", 3, 2)
    assert row.verdict == "supported" and row.claim == "E4"


def test_the_reversed_comparison_is_contradicted_and_mirrored():
    row = judged(outcomes(LEVELS), od.Comparison("x", "init_demo", "init_sft"))
    assert row.effect == pytest.approx(-judged(outcomes(LEVELS)).effect)
    assert row.verdict == "contradicted"


def test_one_seed_is_bootstrapped_over_prompts_and_says_so():
    generator = np.random.default_rng(4)
    levels = {"random": 0.0, "init_demo": 0.2, "init_sft": 0.6, "oracle": 1.0}
    rows = [
        ("harmless", 7, method, 16, prompt, "world", level + generator.normal(0, 0.1))
        for prompt in range(40)
        for method, level in levels.items()
    ]
    table = pd.DataFrame(rows, columns=TABLES["outcomes"].columns)
    row = judged(table)
    assert row["interval"] == "bootstrap over prompts" and row.n_prompts == 40
    assert row.low < row.effect < row.high and row.effect == pytest.approx(0.4, abs=0.1)
    assert judged(table.sample(frac=1, random_state=0)).to_dict() == row.to_dict()


def test_a_level_known_at_one_only_is_taken_there():
    level = outcomes({"demonstrations": [0.5, 0.7, 1.2]}, n=1)
    row = judged(pd.concat([outcomes(LEVELS), level]), od.Comparison("E8", "init_sft", "demonstrations"))
    assert row.effect == pytest.approx(np.mean([0.25, 0.25, 0.25]))


def test_without_a_gap_there_is_no_effect():
    row = judged(outcomes(LEVELS | {"oracle": [0, 0, 0]}))
    assert np.isnan(row.effect) and row.verdict == "inconclusive"


def test_settings_are_never_merged():
    table = pd.concat([outcomes(LEVELS).assign(setting=0), outcomes(LEVELS).assign(setting=1)])
    with pytest.raises(DataError, match="add the column that tells them apart"):
        judged(table)
    result = od.orderings(
        table, [COMPARISON], generator=np.random.default_rng(0), by=("task", "setting", "judge")
    )
    assert list(result["setting"]) == [0, 1]


def test_unpaired_prompts_are_refused():
    table = outcomes(LEVELS)
    lacking = table[~((table["method"] == "init_demo") & (table["prompt_id"] == "q") & (table["seed"] == 1))]
    with pytest.raises(DataError, match=r"don't share .* such as \('1', 'q'\)"):
        judged(lacking)


def test_unknown_methods_kinds_and_absent_n():
    with pytest.raises(SpecError, match="did you mean 'init_demo'"):
        judged(outcomes(LEVELS), od.Comparison("E4", "init_sft", "init_dmo"))
    with pytest.raises(SpecError, match="did you mean 'better'"):
        od.Comparison("E4", "init_sft", "init_demo", kind="bettr")
    with pytest.raises(SpecError, match="margin"):
        od.Comparison("E4", "init_sft", "init_demo", margin=-0.1)
    with pytest.raises(DataError, match="no outcomes at n = 16"):
        judged(outcomes(LEVELS, n=8))


def test_the_papers_orderings_are_rules_of_the_ledger():
    plain, more = od.PAPER_ORDERINGS[:9], od.PAPER_ORDERINGS[9:]
    assert [each.claim for each in plain] == "E4 E5 E7 E8 R1 R2a R2b R2c R2d".split()
    assert [each.claim for each in more] == [f"{name} x10" for name in od.ALSO_WITH_MORE_SAMPLES]
    assert {each.method for each in plain} == {"init_sft"} and {each.method for each in more} == {
        "init_sft_x10"
    }
    claims = {claim.id: claim for claim in load_ledger().claims}
    for each in od.PAPER_ORDERINGS:
        claim = claims[each.claim.removesuffix(" x10")]
        assert (each.than, each.kind, each.margin) == (claim.than, claim.kind, claim.margin)
