"""What the chapter shows of ablations: points, effects and worth, read from frozen values."""

import shutil

import numpy as np
import pandas as pd
import pytest

from afd_study.errors import StoreError
from afd_study.evaluation.claim_effects import VALUE_COLUMNS
from afd_study.evaluation.sizes import SIZES
from afd_study.study.chapters import ablations as chapter
from afd_study.study.frozen.ablation_grids import ablation_cells, ablations
from afd_study.study.frozen.files import freeze
from afd_study.study.frozen.seed_means import wide

GRIDS = list(ablations().grids)


def made_up(name):
    """Values of every cell of a grid: Init-SFT at 1, preferences rising by half a point a value."""
    rows, rng = [], np.random.default_rng(0)
    for place, cell in enumerate(ablation_cells(name)):
        worth = {"random": 0.7, "demonstrations": 0.9, "oracle": 2.0, "preferences": 0.7 + 0.2 * place}
        for seed in cell.seeds:
            front = (cell.task, cell.setting, seed)
            for method in [*worth, *cell.overrides["reward.kinds"]]:
                value = worth.get(method, 1.0) + 0.01 * rng.normal()
                sizes = (1,) if method == "demonstrations" else SIZES
                rows += [(*front, "outcomes", "judge", method, n, value) for n in sizes]
                rows.append((*front, "win_rates", "win_rate_over_pi_sft", method, 16, 0.5))
    return pd.DataFrame(rows, columns=list(VALUE_COLUMNS)).drop_duplicates(list(VALUE_COLUMNS)[:-1])


@pytest.fixture
def frozen(tmp_path, monkeypatch):
    monkeypatch.setenv("AFD_RESULTS", str(tmp_path))
    about = {"profile": "cpu", "seeds": [0, 1, 2], "step_seconds": 9}
    for name in GRIDS:
        freeze(f"ablations/{name}", {"values": wide(made_up(name))}, **about)


@pytest.mark.parametrize("name", GRIDS)
def test_points_hold_every_value_line_and_seed_of_their_grid(name):
    grid, points = ablations().grid(name), chapter.points(name, made_up(name))
    lines = len(grid.kinds) + len(chapter.BESIDE)
    assert len(points) == len(grid.tasks) * len(grid.values) * lines * len(ablations().seeds)
    assert set(points.loc[points["reference"], "value"]) == {str(grid.reference)}
    assert set(points["method"]) == {*grid.kinds, *chapter.BESIDE}


def test_a_point_is_the_judges_mean_of_its_own_cell_reward_model_and_n():
    values = made_up("loss")
    points = chapter.points("loss", values).set_index(["method", "value", "seed"])
    one = values[(values["method"] == "init_sft_bt") & (values["n"] == 16) & (values["metric"] == "judge")]
    assert points.loc[("init_sft", "Bradley-Terry", 1), "judge"] == one.set_index("seed").loc[1, "value"]
    assert points.loc[("init_sft", "Bradley-Terry", 1), "kind"] == "init_sft_bt"
    curve = made_up("number_of_responses")
    curve.loc[(curve["n"] == 4) & (curve["method"] == "init_sft"), "value"] = 7.0
    along = chapter.points("number_of_responses", curve)
    assert set(along.loc[(along["value"] == "4") & (along["method"] == "init_sft"), "judge"]) == {7.0}


def test_everything_that_the_chapter_shows_is_read_from_frozen_values(frozen):
    assert set(chapter.responses()["grid"]) == set(GRIDS) == set(chapter.manifests()["grid"])
    assert chapter.responses("loss")["axis"].eq("loss").all() and len(chapter.questions()) == len(GRIDS)
    noise = chapter.effects_in_words("preference_noise")
    assert noise["varied"].eq("share of labels flipped (against 0.0)").all()
    rising = noise[(noise["method"] == "preferences") & (noise["task"] == "harmless")]["effects"].item()
    assert rising.startswith("0.2: +0.") and rising.count(";") == 1 and rising.endswith("*")
    chance, effects = chapter.chance(), chapter.effects()
    tested = effects[~effects["method"].isin(chapter.BESIDE)]
    assert chance["comparisons"] == len(tested) and chance["clear"] == tested["clear"].sum()
    assert chance["expected_by_chance"] == pytest.approx(0.05 * len(tested))


def test_a_demonstrations_worth_is_in_labels_or_in_words(frozen):
    worth = chapter.labels_worth().set_index(["task", "seed"])
    # preferences rise from .7 by .2 a value: 2000 labels make .9, 4000 make 1.1, Init-SFT has 1
    assert 2000 < float(worth.loc[("harmless", "mean"), "labels"]) < 4000
    assert 1 < float(worth.loc[("harmless", "mean"), "labels per demonstration"]) < 2
    # those of `helpful` begin at 1.5
    assert worth.loc[("helpful", "mean"), "labels"] == "fewer than 500"
    assert worth.loc[("helpful", "0"), "labels per demonstration"] == "fewer than 0.25"
    low = made_up("number_of_preferences")
    low["value"] = low["value"].where(low["method"] != "preferences", 0.0)
    freeze("ablations/number_of_preferences", {"values": wide(low)})
    assert set(chapter.labels_worth()["labels"]) == {"more than 8000"}


def test_values_of_another_grid_are_refused(frozen, tmp_path):
    values = made_up("temperature")
    freeze("ablations/temperature", {"values": wide(values[~values["setting"].str.contains("0.7")])})
    with pytest.raises(StoreError, match=r"temperature = 0\.7.*make results WHAT=ablations ONLY=temperature"):
        chapter.responses("temperature")
    shutil.rmtree(tmp_path / "ablations" / "loss")
    with pytest.raises(StoreError, match="no frozen results 'ablations/loss'"):
        chapter.responses("loss")
