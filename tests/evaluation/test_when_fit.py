"""The law fitted: planted laws come back, worlds are left out whole, halves lie within strata."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge
from world_tables import contrast, law_cells

from afd_study.errors import DataError, SpecError
from afd_study.evaluation.when import DIAGNOSTICS, RIVALS, Law
from afd_study.evaluation.when_fit import fit_law, halves, leave_worlds_out

FEW = {"rivals": ("init_demo", "random"), "penalties": (0.01, 0.3)}


def test_a_planted_law_comes_back():
    law = fit_law(law_cells(24), **FEW)
    slopes = dict(zip(law.diagnostics, np.array(law.coefficients["random"]) / law.scale, strict=True))
    assert slopes["auc_init_demo"] == pytest.approx(1.0, abs=0.08)
    assert slopes["auc_init_sft"] == pytest.approx(-0.6, abs=0.08)
    assert (
        max(abs(slope) for name, slope in slopes.items() if name[4:] not in ("init_demo", "init_sft")) < 0.05
    )
    assert law.penalty == 0.01 and (law.n_worlds, law.n_cells) == (24, 72)
    assert law.errors["random"] == pytest.approx(0.02, rel=0.3)  # the noise that was planted
    fresh = law_cells(24, number=1)
    miss = law.lead(fresh)["random"] - fresh["lead_over_random"]
    assert np.sqrt((miss**2).mean()) < 0.03 < 0.1 < fresh["lead_over_random"].std()


def test_where_there_is_no_law_the_penalty_is_large_and_the_mean_is_predicted():
    rng = np.random.default_rng(0)
    cells = law_cells(12).assign(**{f"lead_over_{rival}": rng.standard_normal(36) for rival in RIVALS})
    law = fit_law(cells, penalties=(0.01, 100.0))
    assert law.penalty == 100 and max(map(abs, law.coefficients["random"])) < 0.02


def test_the_ridge_is_that_of_scikit_learn():
    cells = law_cells(8)
    law = fit_law(cells, rivals=("random",), penalties=(0.3,))
    z = (cells[list(DIAGNOSTICS)].to_numpy() - law.centre) / law.scale
    theirs = Ridge(alpha=0.3 * len(cells)).fit(z, cells["lead_over_random"].to_numpy())
    assert law.coefficients["random"] == pytest.approx(theirs.coef_)
    assert law.intercepts["random"] == pytest.approx(theirs.intercept_)


def test_a_law_knows_its_range_and_contains_what_it_was_fitted_on():
    cells = law_cells(8)
    law = fit_law(cells, **FEW, slack=0.0)
    assert law.ranges["auc_init_sft"].high == cells["auc_init_sft"].max()
    assert law.outside(cells) == [""] * len(cells)
    beyond = cells.assign(auc_init_sft=1.3)
    assert all("auc_init_sft" in reason for reason in law.outside(beyond))
    assert Law.model_validate_json(law.model_dump_json()) == law


def test_two_diagnostics_that_always_agree_have_no_prediction_where_they_do_not():
    cells = law_cells(12)
    cells["auc_init_demo"] = cells["auc_init_sft"]
    law = fit_law(cells, **FEW)
    odd = cells.assign(auc_init_sft=0.55, auc_init_demo=0.95)[:1]
    assert "from the centre" in law.outside(odd)[0] and law.outside(cells) == [""] * len(cells)


def test_a_constant_diagnostic_says_nothing():
    law = fit_law(law_cells(8).assign(share_that_stops=1.0), **FEW)
    assert law.coefficients["random"][law.diagnostics.index("share_that_stops")] == 0


# worlds left out


def test_a_world_is_left_out_with_all_of_its_rows():
    """Leads are each world's own number: whoever has seen one row of a world knows the others."""
    rng = np.random.default_rng(0)
    cells = law_cells(8, 4)
    code = pd.factorize(cells["world"])[0]
    own = rng.standard_normal(8)
    names = list(DIAGNOSTICS)
    cells[names] = rng.standard_normal((8, len(names)))[code]  # a world is known by its diagnostics
    for rival in FEW["rivals"]:
        cells[f"lead_over_{rival}"] = own[code]
    law = fit_law(cells, **FEW | {"penalties": (1e-6,)})
    seen = np.abs(law.lead(cells)["random"] - own[code]).max()
    assert seen < 0.01 and law.errors["random"] > 0.5  # eleven diagnostics tell eight worlds by heart
    left_out = leave_worlds_out(cells, **FEW | {"penalties": (1e-6,)}, slack=100.0)
    miss = left_out["predicted_random"] - cells["lead_over_random"]
    assert np.sqrt((miss**2).mean()) == pytest.approx(law.errors["random"])


def test_what_is_predicted_of_a_world_does_not_depend_on_its_leads():
    cells = law_cells(6)
    changed = cells.copy()
    changed.loc[changed["world"] == "w02", "lead_over_random"] += 10
    plain, other = (leave_worlds_out(table, **FEW) for table in (cells, changed))
    here = cells["world"] == "w02"
    pd.testing.assert_frame_equal(plain[here], other[here])
    assert not np.allclose(plain.loc[~here, "usual_random"], other.loc[~here, "usual_random"])
    assert plain.index.equals(cells.index)


def test_the_order_of_cells_changes_nothing():
    cells = law_cells(6)
    shuffled = cells.sample(frac=1, random_state=0)
    law, other = fit_law(cells, **FEW), fit_law(shuffled, **FEW)
    assert law.coefficients["random"] == pytest.approx(other.coefficients["random"])
    assert law.errors["random"] == pytest.approx(other.errors["random"])


# halves


def test_halves_are_balanced_within_strata():
    worlds = contrast(24, 1, 1).assign(world=lambda t: "harmless " + t["world"])
    half = halves(worlds, seed=7)
    assert half.value_counts().tolist() == [12, 12]
    by_cell = worlds.assign(half=worlds["world"].map(half)).groupby(["kinds", "likely_good", "web_ends"])[
        "half"
    ]
    assert set(by_cell.agg(lambda part: (part == "A").sum())) == {1, 2}  # of three


def test_halves_depend_on_the_seed_and_not_on_the_order():
    worlds = contrast(24, 1, 1)
    half = halves(worlds, seed=7)
    pd.testing.assert_series_equal(half, halves(worlds.sample(frac=1, random_state=0), seed=7))
    assert not half.equals(halves(worlds, seed=8))
    with pytest.raises(DataError, match="stands twice"):
        halves(contrast(8, 1, 2), seed=0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.drop(columns="auc_sft_demo"), "auc_sft_demo"),
        (lambda t: t.drop(columns="lead_over_random"), "lead_over_random"),
        (lambda t: t.assign(auc_sft_demo=np.nan), "world w00 lacks"),
        (lambda t: t[:9], "4 worlds or more"),
        (lambda t: pd.concat([t, t]), "index repeats"),
    ],
)
def test_cells_that_are_refused(change, words):
    with pytest.raises(DataError, match=words):
        fit_law(change(law_cells(5)), **FEW)


def test_settings_that_are_refused():
    with pytest.raises(SpecError, match="penalties"):
        fit_law(law_cells(5), penalties=(0.0,))
    with pytest.raises(SpecError, match="slack"):
        fit_law(law_cells(5), slack=-0.1)
    with pytest.raises(DataError, match="5 worlds or more"):
        leave_worlds_out(law_cells(4), **FEW)
