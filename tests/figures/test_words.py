"""Words of still figures are drawn as they stand, whatever they are; numbers of log axes stay formulae."""

import warnings

import pytest
from hostile_texts import FORMULAE, HARMLESS, LATER_MARKUP, MARKUP, TERMINAL

from afd_study.errors import visible
from afd_study.figures.style import name_rows, plate

GROUPS = {"markup": MARKUP, "later": LATER_MARKUP, "terminal": TERMINAL, "formula": FORMULAE}
GROUPS |= {"harmless": {text: text for text in HARMLESS}}


@pytest.mark.parametrize("group", GROUPS)
def test_any_word_can_be_drawn_and_is_read_as_it_is(group):
    texts = list(GROUPS[group].values())
    figure, grid = plate(1, 1, height=8)
    figure.set_size_inches(30, 8)
    axes = grid[0, 0]
    for place, text in enumerate(texts):
        axes.plot([1, 2], [0, place], label=f"{text} there")
        axes.annotate(text, (1, place))
    axes.set_title(texts[0])
    name_rows(axes, texts)
    axes.legend()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a warning on a page would name a path of this machine
        assert figure._repr_png_().startswith(b"\x89PNG")
        figure._repr_png_()  # and again
    plain = [visible(text).replace("\t", " ") for text in texts]
    ticks, notes, labels = axes.get_yticklabels(), axes.texts, axes.get_legend().get_texts()
    assert [tick.get_text() for tick in ticks] == [note.get_text() for note in notes] == plain
    assert axes.get_title() == plain[0]
    assert [label.get_text() for label in labels] == [f"{word} there" for word in plain if word[0] != "_"]
    assert not any(each.get_parse_math() for each in (*ticks, *notes, *labels, axes.title))


def test_numbers_of_a_logarithmic_axis_stay_formulae():
    figure, grid = plate(1, 1, height=2)
    axes = grid[0, 0]
    axes.plot([1, 1e6], [1, 1e6])
    axes.set_xscale("log")
    figure._repr_png_()
    label = axes.get_xticklabels()[1]
    assert label.get_text().startswith("$") and label.get_parse_math()
