"""The judging runs: which worlds, which parts, and values that survive being frozen."""

import pandas as pd
import pytest

from afd_study.errors import SpecError
from afd_study.evaluation.ledger.judging import contrast_rows, is_computed
from afd_study.evaluation.ledger.records import load_ledger
from afd_study.evaluation.ledger.values import ALONE, VALUE_COLUMNS
from afd_study.evaluation.world_rows import STRATA
from afd_study.study import freeze as freezing
from afd_study.study.frozen import judging, parts as frozen_parts
from afd_study.study.frozen.files import read_manifest
from afd_study.study.frozen.grids import Cell
from afd_study.study.frozen.judging import parts, replicate_of, strata_of, worlds_of
from afd_study.study.frozen.seed_means import narrow, wide


@pytest.mark.parametrize("family", ["harmless", "helpful"])
def test_the_design_is_balanced(family):
    assert set(strata_of(family).groupby(list(STRATA)).size()) == {3}
    ledger = load_ledger()
    for run in ledger.judging_runs:
        plan, worlds = ledger.runs[run], worlds_of(ledger, run, family)
        if not plan.where:
            assert set(worlds.groupby(list(STRATA)).size()) == {3 if plan.worlds == "all" else 1}
        for stratum, value in plan.where.items():
            assert set(worlds[stratum]) == {value}


def test_parts_hold_every_world_of_a_run_once():
    ledger = load_ledger()
    for run in ledger.runs:
        for family in ledger.families:
            own = [part for part in parts() if (part.run, part.family) == (run, family)]
            assert sum((part.worlds for part in own), ()) == tuple(worlds_of(ledger, run, family).index)
            assert max(len(part.worlds) for part in own) <= judging.WORLDS_A_PART
    assert len({part.name for part in parts()}) == len(parts())


def test_a_part_has_a_cell_for_each_world_and_setting():
    part = next(part for part in parts() if part.run == "arms")
    cells = part.cells()
    settings = load_ledger().runs["arms"].settings
    assert [(world, cell.setting) for world, cell in cells] == [(w, s) for w in part.worlds for s in settings]
    assert all(cell.overrides["world.variant"] == world for world, cell in cells)


@pytest.mark.parametrize(
    ("name", "method", "replicate"),
    [
        ("init_sft", "init_sft", 0),
        ("init_sft#3", "init_sft", 3),
        ("init_sft#2_without_length", "init_sft_without_length", 2),
        ("init_sft_without_length", "init_sft_without_length", 0),
        ("init_sft_ensemble", "init_sft_ensemble", ALONE),
        ("closed_form", "closed_form", ALONE),
        ("closed_form_without_length", "closed_form_without_length", ALONE),
        ("adversarial_reverse_kl", "adversarial_reverse_kl", ALONE),
    ],
)
def test_names_of_scorers_hold_their_replicate(name, method, replicate):
    assert replicate_of(name) == (method, replicate)


def test_values_survive_being_frozen():
    rows = [
        (
            "harmless",
            world,
            0,
            "h = 1",
            "outcomes",
            "judge",
            "init_sft",
            replicate,
            16,
            world + 0.5 * replicate,
        )
        for world in (3, 1)
        for replicate in (0, 1)
    ]
    values = pd.DataFrame(rows, columns=list(VALUE_COLUMNS))
    again = narrow(wide(values, along="world"), along="world", columns=VALUE_COLUMNS)
    keys = [name for name in VALUE_COLUMNS if name != "value"]
    left, right = (table.sort_values(keys, ignore_index=True) for table in (values, again))
    pd.testing.assert_frame_equal(left, right[left.columns], check_dtype=False)


def test_whatever_steps_make_can_be_looked_at_before_it_is_computed():
    """`afd results --what X --dry-run` names the parts of every X but what no step makes, and a GPU's."""
    names = frozen_parts.parts()
    for what in set(freezing.FREEZERS) - {"worlds", "gpu"}:
        assert any(freezing.belongs(name, what) for name in names), what
    alone = set(freezing.FREEZERS) - {"all"}
    assert all(any(freezing.belongs(name, what) for what in alone) for name in names)


def test_one_setting_is_computed_again_with_fresh_reward_models():
    """Those that the run has come first, under the same steps, and as many further ones follow."""
    again = [part for part in parts() if part.run == judging.FRESH]
    family, setting = judging.FRESH_FAMILY, judging.FRESH_SETTING
    assert sum((part.worlds for part in again), ()) == tuple(
        worlds_of(load_ledger(), "scorers", family).index
    )
    ((_, cell), *_), first = again[0].cells(), next(part for part in parts() if part.run == "scorers")
    usual = next(cell for _, cell in first.cells() if cell.setting == setting)
    assert (cell.task, cell.setting) == (family, setting) == (usual.task, usual.setting)
    own, before = (next(iter(each.study().plans().values())).steps for each in (cell, usual))
    for kind in ("init_sft_x10", "init_demo", "sft_demo", "preferences"):
        assert own[f"reward_{kind}"].key == before[f"reward_{kind}"].key
        assert own[f"reward_{kind}#3"].key == before[f"reward_{kind}#3"].key
        assert f"reward_{kind}#7" in own and f"reward_{kind}#4" not in before
    assert "reward_init_sft" not in own


def test_an_unknown_part_is_refused():
    with pytest.raises(SpecError, match="did you mean 'arms-harmless-1'"):
        freezing.freeze_judging(jobs=1, only="arms-harmles-1")


def test_only_arms_that_claims_name_are_made():
    part = next(part for part in parts() if part.run == "arms")
    names = part.cells()[0][1].overrides["arms.names"]
    assert {"dpo_demo_strength_0.1", "spin", "true_reverse_kl", "dpo_init_sft", "extrapolation_2"} <= set(
        names
    )
    assert not {"distilled_1", "ppo_init_sft_0.05"} & set(names)


def test_no_claim_can_rest_on_worlds_for_exploration():
    ledger = load_ledger()
    explored = set(ledger.runs) - set(ledger.judging_runs)
    assert explored and not explored & {claim.run for claim in ledger.claims}
    for part in parts():
        folder = "exploration" if part.run in explored else "judging"  # a fresh run is judged, by stability
        assert part.name.startswith(f"{folder}/")
        assert all((world >= 100) == (part.run in explored) for world in part.worlds)


def test_a_world_for_judging_is_refused_as_exploration():
    ledger = load_ledger()
    run = ledger.runs["components"].model_copy(update={"worlds": (3,)})
    with pytest.raises(SpecError, match="world for exploration .run components. '3'"):
        worlds_of(ledger.model_copy(update={"runs": {"components": run}}), "components", "harmless")


def test_a_part_is_computed_frozen_and_judged(tmp_path, monkeypatch):
    """One world of the asides, with tiny settings: every value that its claims ask for is there.

    It is a world for exploration, for no world for judging may be looked at in a test.
    """
    monkeypatch.setenv("AFD_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("AFD_STORE", str(tmp_path / "store"))
    study = Cell.study
    tiny = {"sampling.draws": 20, "world.n_test": 6}

    def of_smoke(cell, store=None, jobs=None, profile=""):
        return study(cell._replace(overrides={**cell.overrides, **tiny}), store, jobs, "smoke")

    monkeypatch.setattr(Cell, "study", of_smoke)
    whole = next(part for part in parts() if part.run == "asides" and part.family == "harmless")
    monkeypatch.setattr(judging, "parts", lambda ledger=None: [whole._replace(worlds=(100,))])
    freezing.freeze_judging(jobs=1, only="asides-harmless-1")
    values = judging.frozen_values("asides")
    assert values is not None and set(values["world"]) == {100}
    runs, ledger = judging.frozen_runs(["asides"]), load_ledger()
    claims = [claim for claim in ledger.claims if claim.run == "asides" and "harmless" in claim.families]
    assert claims
    for claim in claims:
        for setting in claim.settings:
            rows = contrast_rows(ledger, runs, claim, "harmless", setting)
            assert set(rows["replicate"]) == {0, 1} or claim.method == "late_closed_form"
            assert rows["effect"].notna().all() and rows["gap"].gt(0).all()
            assert not is_computed(ledger, runs, claim, "harmless", setting), (
                "the design asks for eight worlds"
            )
    about = read_manifest("judging/asides-harmless-1")
    assert about["worlds"] == [100] and about["basis"]["code"] and about["step_seconds"] > 0
