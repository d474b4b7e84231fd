"""The path of a direct method's run: kept, sampled, judged; and what imitation did to its own objective."""

import numpy as np
import pandas as pd
import pytest

from afd_study.evaluation.imitation_objectives import objective
from afd_study.models.policy import load_policy
from afd_study.models.specs import TrainingSpec
from afd_study.study.frozen import seed_means
from afd_study.study.frozen.grids import Cell
from afd_study.study.steps.arms import SNAPSHOTS, path_steps
from afd_study.study.study import open_study
from afd_study.study.workflow.store import Store
from afd_study.study.workflow.tables import read_table

OVERRIDES = {
    "arms.names": ["spin_1", "adversarial_js"],
    "reward.kinds": ["init_sft"],
    "sampling.draws": 68,
    "arms.direct.steps": 30,
}


def test_at_most_so_many_points_are_kept_back_from_the_last():
    spec = {"batch_size": 8, "checkpoint_every": 50, "evaluate_every": 50}
    assert path_steps(TrainingSpec(steps=120, **spec), 12) == [50, 100, 120]
    assert path_steps(TrainingSpec(steps=600, **spec), 12) == [*range(50, 601, 50)]
    assert path_steps(TrainingSpec(steps=650, **spec), 12) == [50, 150, 250, 350, 450, 550, 650]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A direct arm and an imitation arm of one seed, run with the smoke profile."""
    store = Store(tmp_path_factory.mktemp("path"))
    opened = open_study("harmless", "smoke", 0, 1, overrides=OVERRIDES, store=store, quiet=True)
    opened.table("arms")
    return opened


def test_the_validated_stop_and_all_snapshots_are_policies(study):
    folder = study.folder("spin_1")
    history = read_table(folder, "history").set_index("step")
    kept = sorted(int(each.name) for each in (folder / SNAPSHOTS).iterdir())
    assert kept == [10, 20, 30] and not list(folder.rglob("*.bin"))
    stop = history.loc[history.index > 0, "validation_loss"].idxmin()
    weights = dict(load_policy(folder).named_parameters())
    same = {
        step: all(
            weight.equal(weights[name])
            for name, weight in load_policy(folder / SNAPSHOTS / str(step)).named_parameters()
        )
        for step in kept
    }
    assert same == {step: step == stop for step in kept}


def test_every_point_of_a_path_is_judged_on_the_same_prompts(study):
    path = study.table("path")
    assert path["step"].tolist() == [0, 10, 20, 30] and set(path["method"]) == {"spin_1"}
    assert set(path["n"]) == {12 * 8}  # all of the few test prompts
    shares = path[["off_grammar", "stray_share"]]
    assert ((shares >= 0) & (shares <= 1)).all(axis=None)
    assert path["judge"].to_numpy() == pytest.approx((path["judge_1"] + path["judge_2"]).to_numpy() / 2)
    history = study.histories("history").set_index("step")
    assert path["validation_loss"].tolist() == pytest.approx(history["validation_loss"].tolist())
    assert path.loc[0, "validation_loss"] == pytest.approx(np.log(2))


def test_a_path_begins_where_the_run_began(study):
    """Two runs from one start have the same first point, whatever comes later: the draws are the same."""
    changes = {**OVERRIDES, "arms.names": ["spin_1"], "arms.schedules": {"spin_1": {"learning_rate": 1e-2}}}
    other = open_study("harmless", "smoke", 0, 1, overrides=changes, store=study.store, quiet=True)
    one, two = (each.table("path").set_index("step") for each in (study, other))
    pd.testing.assert_series_equal(one.loc[0], two.loc[0])
    assert not one.loc[30].equals(two.loc[30])


def test_an_objective_stands_beside_its_exact_control(study):
    table = study.table("objectives").set_index("method")
    assert set(table.index) == {"adversarial_js", "true_js"}
    assert set(table["start_policy"]) == {"pi_init"} and set(table["divergence"]) == {"jensen_shannon"}
    assert table["start"].nunique() == 1 and (table["start"].between(0, np.log(2))).all()
    law = read_table(study.folder("true_js densities"), "densities")
    end = objective(law, policy="true_js", divergence="jensen_shannon")["value"].mean()
    assert table.loc["true_js", "end"] == pytest.approx(end)
    assert (table["lowered"] == (table["high"] < 0)).all()


def test_values_hold_objectives_and_both_stops(study):
    values = seed_means.cell_values(Cell("harmless", "h = 1", {}, (0,), ("outcomes", "arms")), study)
    assert values["value"].dtype == float and values["value"].notna().all()
    own = values[values["table"] == "objectives"].set_index(["method", "metric"])["value"]
    table = study.table("objectives").set_index("method")
    for name, row in table.iterrows():
        assert own[name, "objective_change"] == pytest.approx(row["end"] - row["start"])
    stops = values[values["table"] == "path"].set_index("metric")["value"]
    assert set(stops.index) >= {"judge_validated", "judge_oracle", "off_grammar_validated"}
    path = study.table("path").set_index("step")
    assert stops["judge_validated"] == pytest.approx(path.loc[stops["stop_step_validated"], "judge"])


def test_where_nothing_is_imitated_and_nothing_direct_values_have_no_such_rows(tmp_path):
    changes = {**OVERRIDES, "arms.names": ["sft_continued"]}
    study = open_study("harmless", "smoke", 0, 1, overrides=changes, store=Store(tmp_path), quiet=True)
    values = seed_means.cell_values(Cell("harmless", "h = 1", {}, (0,), ("outcomes", "arms")), study)
    assert not set(values["table"]) & {"objectives", "path"} and values["value"].dtype == float
    judged = values[(values["metric"] == "judge") & (values["method"] == "sft_continued")]
    assert len(judged) == 1
    plan = study.plans()[0].steps
    continued, first = plan["sft_continued"], plan["pi_sft"]
    assert continued.inputs["pi_init"] is first
    assert continued.inputs["demonstrations"].key == first.inputs["demonstrations"].key
    lengths = [each.settings["training"].steps for each in (continued, first)]
    assert lengths[0] == lengths[1] and continued.settings["training"].patience is None
