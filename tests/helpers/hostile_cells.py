"""What the cells of the hostile book show: each text by each of the book's ways onto a page."""

import pandas as pd
from hostile_texts import HARMLESS, HOSTILE
from IPython.display import display

from afd_study.figures import experiment, heterogeneity_map, interactive, tables, text, theory_interactive
from afd_study.figures.style import Plate

TEXTS = [*HOSTILE.values(), *HARMLESS]
ROLES = ("prompt", "answer", "demonstration", "file", "model", "author")
INTERVAL = {"mean": -1.5, "low": -2.0, "high": -1.0}
LEVELS = {"pi_init": 0.2, "pi_sft": 0.3}
CLAIM = {"effect": 0.5, "low": 0.4, "high": 0.6, "margin": 0.05, "form": "is", "kind": "better"}


def groups(size):
    return [TEXTS[start : start + size] for start in range(0, len(TEXTS), size)]


def texts():
    """One table of six columns of untrusted texts."""
    frame = pd.DataFrame(dict.fromkeys(ROLES, TEXTS))
    display(tables.show_texts(frame, limit=len(TEXTS)))


def columns():
    """Tables of results whose columns have the texts as names, and captions."""
    for group in groups(8):
        display(tables.show(pd.DataFrame([dict.fromkeys(group, -1.5)])))
    for name in TEXTS:
        display(tables.show(pd.DataFrame({"n": [1]}), caption=name))


def ledger():
    """The table of claims: sentence, source, unit, task, setting and table may each be such a text."""
    names = ("id", "sentence", "task", "setting", "unit", "source", "table", "verdict")
    rows = [dict.fromkeys(names, name) | CLAIM | {"post_hoc": False} for name in TEXTS]
    display(tables.claims(pd.DataFrame(rows)))


def printed():
    """Lines on the page as on a terminal, and sentences about settings that are called so."""
    for name in TEXTS:
        print(f"[{name}]")
    rows = [{"task": name, "setting": name, "verdict": name} for name in TEXTS]
    print(text.verdict_counts(pd.DataFrame(rows)))


def stills():
    """Still figures whose panels, rows and captions are the texts."""
    for group in groups(len(TEXTS) // 2):
        rows = [{"method": "init_sft", "component": name} | INTERVAL for name in group]
        figure = experiment.components(pd.DataFrame(rows))
        figure.set_size_inches(20, 0.3 * len(group))  # room for long names
        display(figure)
    fixed = {"h": 0.0, "a": 0.0, "matched": False, "quantity": "score", "method": "pi_sft", "n_seeds": 1}
    for group in groups(4):
        cells = pd.DataFrame([{"task": name} | fixed | INTERVAL for name in group])
        figure = heterogeneity_map.map_of(cells, "score", "pi_sft")
        figure.set_size_inches(30, 2)
        display(figure)
    figure = Plate(figsize=(0.2, 0.2), dpi=72)
    figure.data = cells
    for name in TEXTS:
        figure.caption = name
        display(figure)


def moving():
    """Figures with a slider whose ticks, positions and titles are the texts, and buttons of such names."""
    for group in groups(8):
        responses = pd.DataFrame({"response": group, "reward": 0.0} | LEVELS | dict.fromkeys(group, 0.1))
        display(theory_interactive.moving_law(responses, positions=group))
        rows = [
            {"setting": name, "method": method, "n": n} | INTERVAL
            for name in group[:3]
            for method in ("init_sft", "random")
            for n in (1, 2)
        ]
        display(interactive.best_of_n(pd.DataFrame(rows)))
