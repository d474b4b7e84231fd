"""Looks are told apart, and figures are white plates that leave matplotlib's settings alone."""

import matplotlib as mpl
import pytest

from afd_study.errors import SpecError
from afd_study.figures import experiment, style


@pytest.fixture
def levels(with_bounds):
    return with_bounds({"method": name, "mean": 1.3} for name in style.LEVELS)


def test_no_two_methods_look_alike():
    looks = [(entry.colour, entry.line, entry.marker) for entry in style.METHODS.values()]
    assert len(set(looks)) == len(looks)
    coloured = [entry.colour for entry in style.METHODS.values() if not entry.control]
    assert len(set(coloured)) == len(coloured)


def test_figures_leave_the_global_style_alone(levels):
    before = dict(mpl.rcParams)
    experiment.levels(levels)
    assert dict(mpl.rcParams) == before


def test_a_plate_shows_itself_as_a_white_png(levels):
    figure = experiment.levels(levels)
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert mpl.colors.to_hex(figure.get_facecolor()) == "#ffffff"
    assert figure.get_size_inches()[0] == 7.5


def test_replicates_and_ensembles_look_like_their_kind():
    own = style.look("init_sft")
    assert style.look("init_sft#1").colour == style.look("init_sft_ensemble").colour == own.colour
    assert style.look("init_sft#1").label == f"{own.label}, replicate 2"
    ordered = style.in_order(["init_demo", "init_sft_ensemble", "init_sft", "init_sft#2", "init_sft#1"])
    of_kind = ["init_sft", "init_sft_ensemble", "init_sft#1", "init_sft#2"]
    assert [name for name in ordered if "sft" in name] == of_kind and "init_demo" in ordered
    with pytest.raises(SpecError, match="init_sft"):
        style.look("init_sftt#1")


def test_what_is_left_without_length_looks_like_its_rule():
    names = ["likelihood_without_length", "init_sft#1_without_length", "init_sft_ensemble_without_length"]
    assert [style.look(name).label for name in names] == [
        "likelihood, length taken out",
        "Init-SFT, replicate 2, length taken out",
        "Init-SFT, ensemble, length taken out",
    ]
    assert style.look(names[1]).colour == style.look("init_sft").colour
    ordered = style.in_order([*names, "init_sft", "likelihood", "init_demo"])
    assert ordered == ["init_sft", names[2], names[1], "init_demo", "likelihood", names[0]]
