"""The page on free features reads the frozen map and the frozen trainings."""

from afd_study.study.chapters import free_feature


def test_leads_of_the_frozen_map_stand_beside_every_law():
    hs = free_feature.heterogeneities()
    assert hs[0] == 0 and hs[-1] == 1
    table = free_feature.leads({"all lost": {h: float(h == 0) for h in hs}})
    assert set(table["h"]) == set(hs) and set(table["law"]) == {"all lost"}
    assert table.loc[table["h"] == 0, "error"].abs().max() < 1e-6  # by construction
    errors = free_feature.prediction_errors(table)
    assert set(errors["task"]) == set(table["task"]) and (errors["rmse"] > 0).all()


def test_weights_of_the_frozen_trainings():
    table = free_feature.training_weights("harmless", "helpful")
    assert set(table["task"]) == {"harmless", "helpful"} and table["weight"].between(0, 1).all()
    last = table.groupby(["task", "method"])["effective"].last()
    assert (last[:, "init_demo"] < last[:, "init_sft"]).all()  # the setting has marks
    assert (table.groupby("task")["setting"].nunique() == 1).all()
