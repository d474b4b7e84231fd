"""The figure of training: a panel a model, lines a seed, a dot at the lowest validation loss."""

import pandas as pd

from afd_study.figures import training


def test_training_curves_have_a_panel_a_model_and_lines_a_seed():
    rows = [
        (model, seed, step, 3 / step, 3.1 / step + (step == 3))
        for model in ("pi_sft", "init_sft", "something new", "preferences")
        for seed in (0, 1)
        for step in (1, 2, 3)
    ]
    columns = ["model", "seed", "step", "training_loss", "validation_loss"]
    figure = training.training_curves(pd.DataFrame(rows, columns=columns))
    shown = [axes for axes in figure.axes if axes.get_visible()]
    titles = [axes.get_title(loc="left") for axes in shown]
    assert titles == ["SFT policy", "Init-SFT", "something new", "preferences (BT)"]
    best = shown[0].lines[2]
    assert len(shown[0].lines) == 6 and list(best.get_xdata()) == [2]
