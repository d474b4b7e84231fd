"""The words of a still figure are shown as they stand.

Names may come from data: matplotlib would set `$x$` as a formula, and stop at `$x{$`.
"""

from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter, LogFormatter

from afd_study.errors import visible


def set_plainly(figure: Figure) -> None:
    """Let no word of a figure be read as a formula, and spell out what can't be seen in it.

    The numbers of a logarithmic axis stay formulae: they are matplotlib's own.
    """
    axes = [axis for each in figure.axes for axis in (each.xaxis, each.yaxis)]
    ticks = {id(label) for axis in axes for label in _tick_labels(axis)}
    for text in figure.findobj(Text):
        if isinstance(text, Text) and id(text) not in ticks:
            text.set_parse_math(False)
            text.set_text(_plain(text.get_text()))
    for axis in axes:
        _set_ticks_plainly(axis)


def _plain(word: str) -> str:
    return visible(word).replace("\t", " ")  # no font has a tab


def _tick_labels(axis: Axis) -> list[Text]:
    ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
    return [label for tick in ticks for label in (tick.label1, tick.label2)]


def _set_ticks_plainly(axis: Axis) -> None:
    """Do the same for the ticks of an axis, whose words are written as the figure is drawn."""
    formatter = axis.get_major_formatter()
    if isinstance(formatter, LogFormatter):
        return
    if isinstance(axis.get_major_locator(), FixedLocator):
        if isinstance(formatter, (FixedFormatter, FuncFormatter)):
            places = axis.get_majorticklocs().tolist()
            words = formatter.format_ticks(places)
            if words != (plain := [_plain(word) for word in words]):
                axis.set_ticks(places, labels=plain)
    for label in _tick_labels(axis):
        label.set_parse_math(False)
