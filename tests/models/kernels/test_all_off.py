"""Without any kernel, results are the same up to rounding: in one model, and in the whole smoke study.

Rounding could change a sampled token, and all that follows from it, where a response's uniform number falls
between two cumulative laws. These differ by about 1e-6, so that is rare; it has not happened here.
"""

from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest
import torch
from transformers.activations import GELUTanh
from transformers.models.gpt2.modeling_gpt2 import GPT2MLP

from afd_study.methods.reward_model import forks
from afd_study.models.batches import Example, Pair
from afd_study.models.kernels import last_block, shared_prefix, shared_prompt_scoring, switch
from afd_study.models.reward import RewardModel
from afd_study.study.study import open_study
from afd_study.study.workflow.store import Store

TABLES = (
    "samples",
    "init_samples",
    "scores",
    "outcomes",
    "summary",
    "win_rates",
    "diagnostics",
    "coverage",
    "regression",
    "rank_correlations",
    "calibration",
    "calibration_curve",
    "edit_effects",
    "pessimism",
)
# Rank correlations: two scores that are nearly equal may change places, which moves these by a step.
RANKS = {"diagnostics": 1e-3, "rank_correlations": 1e-3}


def test_the_switch_turns_all_of_them_off_and_on_again(build):
    lm, rows = build("gpt2"), [Example((5, 6, 7, token), 2) for token in range(3, 9)]

    def in_use():
        return [
            shared_prefix.supports(lm),
            last_block.supports(lm.base_model),
            shared_prompt_scoring.is_faster(lm, rows),
            forks(RewardModel(lm.base_model), [Pair(*rows[:2])]),
        ]

    assert all(in_use())
    with pytest.raises(KeyError), switch.disabled():
        assert not any(in_use())
        raise KeyError  # a fault within leaves the switch as it was
    assert all(in_use())


def test_a_model_made_without_kernels_is_the_one_that_transformers_makes(build):
    settings = {"activation_function": "gelu_pytorch_tanh"}
    with switch.disabled():
        plain = build("gpt2", **settings)
    assert plain.config._attn_implementation == "sdpa"
    assert all(type(block.mlp) is GPT2MLP and type(block.mlp.act) is GELUTanh for block in plain.base_model.h)
    lm, ids = build("gpt2", **settings), torch.arange(3, 23).view(2, 10)
    with torch.no_grad(), switch.disabled():  # one that has kernels does not use them
        assert torch.equal(lm(ids).logits, plain(ids).logits)


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    """The tables of the smoke study, computed in this process with all kernels and with none."""
    tables = []
    for name, kernels in (("with", nullcontext()), ("without", switch.disabled())):
        store = Store(tmp_path_factory.mktemp(name))
        study = open_study("harmless", "smoke", 0, 1, store=store, jobs=1, quiet=True)
        with kernels:
            study.run()
        tables.append({table: study.table(table) for table in TABLES})
    return tables


@pytest.mark.parametrize("name", TABLES)
def test_the_smoke_study_has_the_same_tables(studies, name):
    """Texts, methods, prompts and draws are the same, and numbers within 1e-4."""
    used, plain = (tables[name] for tables in studies)
    slack = RANKS.get(name, 1e-4)
    pd.testing.assert_frame_equal(plain, used, rtol=slack, atol=slack)


def test_every_method_picks_the_same_responses_and_the_judge_gives_them_the_same_values(studies):
    used, plain = (_picks(tables["scores"]) for tables in studies)
    assert used.index.get_level_values("scorer").nunique() > 5
    pd.testing.assert_series_equal(plain, used)
    used, plain = (tables["outcomes"] for tables in studies)
    np.testing.assert_array_equal(plain["value"], used["value"])


def _picks(scores):
    """Return the draw of pi_SFT that each scorer likes best, by scorer and prompt."""
    best = scores[scores["source"] == "pi_sft"].groupby(["scorer", "prompt_id"])["reward"].idxmax()
    return scores["draw"].loc[best].set_axis(best.index)
