"""Cells of the ledger and of the map: valid studies, at seeds of their own."""

from afd_study.evaluation.claims import load_ledger
from afd_study.study.frozen.grids import ledger_cells, map_cells, map_spec
from afd_study.study.spec import load_spec


def test_every_cell_is_a_valid_study_and_the_ledgers_seeds_are_its_own():
    for cell in [*ledger_cells(), *map_cells()]:
        load_spec(cell.task, "cpu", cell.overrides)
    assert not {seed for cell in ledger_cells() for seed in cell.seeds} & {*range(200), *map_spec().seeds}
    assert len(load_ledger().seeds) >= 8


def test_the_map_has_four_by_four_cells_for_both_tasks():
    cells, corners = map_cells(), map_cells(corners=True)
    assert len({cell.setting for cell in cells}) == 16 and len(cells) == 32
    assert {cell.setting for cell in corners} == {f"h = {h}, a = {a}" for h in (0, 1) for a in (0.1, 0.9)}
    assert len(map_spec().seeds) == 3
    # a page waits for the corners: they compute only the lead that it shows beside the frozen one
    assert {cell.wanted for cell in corners} == {("outcomes",)} and len(corners) == 8
    assert {tuple(cell.overrides["reward.kinds"]) for cell in corners} == {("init_sft", "init_demo")}
