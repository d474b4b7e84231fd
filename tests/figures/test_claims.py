"""The figure and table of the ledger: colours by verdict, what has no effect left out, where evidence is."""

import numpy as np
import pandas as pd
import pytest

from afd_study.figures import claims, tables, text
from afd_study.figures.evidence import LEDGER, NOWHERE, evidence
from afd_study.figures.style import VERDICTS


@pytest.fixture
def ledger():
    columns = ["id", "task", "setting", "kind", "effect", "verdict"]
    rows = [
        ("E4", "harmless", "h = 1", "better", 0.3, "supported"),
        ("E5", "harmless", "h = 1", "equal", -0.3, "contradicted"),
        ("L4", "harmless", "h = 1", "equal", np.nan, "not yet tested"),
        ("I1", "enumerated", "", "identity", 1e-16, "supported"),
    ]
    same = {"unit": "share of the gap", "source": "ours", "sentence": "A.", "post_hoc": False}
    same |= {"table": "outcomes", "form": "share", "margin": 0.05, "n_seeds": 8}
    table = pd.DataFrame(rows, columns=columns).assign(**same)
    return table.assign(low=table["effect"] - 0.1, high=table["effect"] + 0.1)


@pytest.fixture
def flops(ledger):
    """A claim on what two methods cost."""
    row = ledger[ledger["id"] == "E4"].assign(id="E12", unit="FLOPs", table="cost", effect=2e11)
    return row.assign(low=1.5e11, high=2.5e11, run="arms", method="adversarial_js", than="init_sft")


def test_effects_are_coloured_by_verdict_and_untested_claims_left_out(ledger):
    figure = claims.claims(ledger)
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["E5   h = 1", "E4   h = 1"]
    colours = {line.get_color() for line in axes.lines if len(line.get_xdata()) == 1}
    assert colours == {VERDICTS["supported"].colour, VERDICTS["contradicted"].colour}
    assert set(figure.table["id"]) == {"E4", "E5"} and "8 seeds" in figure.caption


def test_seeds_are_small_marks_and_columns_of_the_table(ledger):
    seeds = [("E4", "harmless", "h = 1", seed, 0.2 + seed / 10) for seed in (0, 1)]
    seeds.append(("E9a", "harmless", "h = 1", 0, 9.0))  # a row that is not shown
    figure = claims.claims(ledger, pd.DataFrame(seeds, columns=["id", "task", "setting", "seed", "effect"]))
    [marks] = [line for line in figure.axes[0].lines if line.get_marker() == "|"]
    assert list(marks.get_xdata()) == pytest.approx([0.2, 0.3]) and set(marks.get_ydata()) == {1}
    assert figure.table.set_index("id").loc["E4", ["seed 0", "seed 1"]].tolist() == pytest.approx([0.2, 0.3])


def test_an_effect_in_flops_has_no_place_on_a_shares_axis(ledger, flops):
    assert set(claims.claims(pd.concat([ledger, flops])).table["id"]) == {"E4", "E5"}
    assert tables.claims(flops).frame["effect"].tolist() == ["2e+11 [1.5e+11, 2.5e+11]"]


def test_the_table_has_words_effects_and_a_link_to_the_evidence(ledger):
    shown = tables.claims(ledger).frame.set_index("id")
    assert shown.loc["E4", "effect"] == "0.30 [0.20, 0.40]" and shown.loc["E4", "where"] == "harmless, h = 1"
    assert shown.loc["E4", "claim"] == "A. (ours; effect: share of the gap)"
    assert shown.loc["L4", "effect"] == "–" and shown.loc["I1", "effect"] == "error within 0.05"
    page = tables.claims(ledger)._repr_html_()
    assert '<td><a href="04_harmless.html#best-of-n">harmless: best of n</a></td>' in page
    assert shown.loc["L4", "figure and table"] == "–"


@pytest.mark.parametrize(
    ("table", "than", "address"),
    [
        ("cost", "init_sft", "11_cost.html"),
        ("coverage", "pi_sft", "07_optimising_the_policy.html#imitating-covering-or-seeking"),
        ("outcomes", "rl_init_sft", "07_optimising_the_policy.html#judge-against-nats"),
        ("outcomes", "spin", "07_optimising_the_policy.html#what-training-reaches"),
    ],
)
def test_claims_on_arms_lead_to_their_sections(flops, table, than, address):
    row = flops.assign(table=table, than=than, unit="share")
    assert evidence(row.iloc[0]).address == address
    assert f'href="{address}"' in tables.claims(row)._repr_html_()


def test_a_task_without_a_page_has_its_evidence_in_the_ledgers_chapter(ledger):
    first, *_, untested, _ = ledger.to_dict("records")
    assert evidence(first).address == "04_harmless.html#best-of-n"
    assert evidence(first | {"task": "candid"}) == LEDGER and evidence(untested) == NOWHERE


def test_verdicts_are_counted_task_by_task(ledger):
    assert text.verdict_counts(ledger).splitlines() == [
        "enumerated: 1 supported",
        "harmless, h = 1: 1 contradicted, 1 not yet tested and 1 supported",
    ]
