"""Half-way SFT: how far it goes, and that its closed form is among the rules."""

import numpy as np
import pytest
import torch

from afd_study.models.policy import load_policy
from afd_study.study.workflow.tables import read_table


def test_half_of_the_steps_that_the_weights_of_pi_sft_took(study):
    whole, half = (read_table(study.folder(role), "evaluations") for role in ("pi_sft", "pi_half"))
    taken = whole.loc[whole["validation_loss"].idxmin(), "step"]
    assert half["step"].tolist() == [taken // 2]
    weights = [
        torch.cat([value.flatten() for value in load_policy(study.folder(role)).state_dict().values()])
        for role in ("pi_init", "pi_half", "pi_sft")
    ]
    there, back = (float((weights[1] - weights[end]).norm()) for end in (0, 2))
    assert there > 0 and back > 0


def test_the_late_closed_form_is_a_difference_of_log_probabilities(study):
    scores = study.table("scores").query("source == 'pi_sft'")
    wide = scores.pivot(index=["prompt_id", "draw"], columns="scorer", values="reward").sort_index()
    half = read_table(study.folder("half_logprobs"), "logprobs").set_index(["prompt_id", "draw"])
    expected = wide["likelihood"] - half["logprob_init"].sort_index()
    assert wide["late_closed_form"].to_numpy() == pytest.approx(expected.to_numpy())
    assert np.abs(wide["late_closed_form"] - wide["closed_form"]).max() > 0.01
