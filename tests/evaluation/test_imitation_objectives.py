"""The objectives of imitation, against divergences between listed laws, and what a run did to its own."""

import numpy as np
import pandas as pd
import pytest
import torch

from afd_study.errors import DataError, SpecError
from afd_study.evaluation.imitation_objectives import DESCENDS, objective, own_objectives
from afd_study.theory.divergences import divergence
from afd_study.theory.rewards import REWARD_TRANSFORMS

RNG = np.random.default_rng(0)
DEMO, START, END = (RNG.dirichlet(np.full(6, 0.7)) for _ in range(3))


def listed(policy, law, *, prompts=("p", "q"), copies=40_000):
    """Densities in which each response occurs as often as its law has it: means are expectations."""
    rows = []
    for prompt in prompts:
        for source, mass in ((policy, law), ("demonstrations", DEMO)):
            for response, count in enumerate(np.round(copies * mass).astype(int)):
                both = (np.log(law[response]), np.log(DEMO[response]))
                rows += [(prompt, source, *both, int(response == 0))] * count
    return pd.DataFrame(rows, columns=["prompt_id", "source", "logprob", "logprob_demo", "n_stray"])


@pytest.mark.parametrize("name", sorted(DESCENDS.values()))
def test_an_objective_is_the_divergence_between_the_laws(name):
    expected = divergence(name, demo=torch.from_numpy(DEMO), policy=torch.from_numpy(END)).item()
    values = objective(listed("end", END), policy="end", divergence=name)
    assert values["value"].tolist() == pytest.approx([expected] * 2, abs=2e-3)
    same = objective(listed("end", DEMO), policy="end", divergence=name)
    assert same["value"].tolist() == pytest.approx([0, 0], abs=1e-12)


def test_what_an_arm_descends_is_what_its_reward_says():
    for transform, name in DESCENDS.items():
        descended = REWARD_TRANSFORMS[transform].descends
        assert descended == name or (descended, name) == ("gan", "jensen_shannon")


def test_the_stray_part_is_that_of_responses_with_a_stray_word():
    table = listed("end", END)
    whole = objective(table, policy="end", divergence="reverse_kl")
    share = END[0] * np.log(END[0] / DEMO[0])
    assert whole["stray"].to_numpy() == pytest.approx(share, abs=2e-3)
    clean = objective(table.assign(n_stray=0), policy="end", divergence="jensen_shannon")
    assert (clean["stray"] == 0).all()


def noisy(policy, shift, seed, n_prompts=20):
    """Prompts differ much from one another, alike in both policies: only a paired test sees a shift."""
    rng, rows = np.random.default_rng(seed), []
    for prompt in range(n_prompts):
        for source in (policy, "demonstrations"):
            for _ in range(8):
                ratio = prompt + shift + 0.1 * rng.normal()
                rows.append((f"{prompt}", source, -5.0, -5.0 - ratio, 0))
    return pd.DataFrame(rows, columns=["prompt_id", "source", "logprob", "logprob_demo", "n_stray"])


def test_a_run_lowered_its_objective_where_the_paired_interval_lies_below_zero():
    laws = {"pi_init": noisy("pi_init", 0.0, 0)}
    laws |= {name: noisy(name, shift, 1) for name, shift in (("down", -0.2), ("up", 0.2), ("still", 0.0))}
    table = own_objectives(laws, dict.fromkeys(("down", "up", "still"), ("pi_init", "airl")))
    table = table.set_index("method")
    assert table["lowered"].tolist() == [True, False, False]
    assert table["change"].tolist() == pytest.approx([-0.2, 0.2, 0.0], abs=0.05)
    assert ((table["low"] < table["change"]) & (table["change"] < table["high"])).all()
    assert table.loc["up", "low"] > 0 > table.loc["still", "low"]
    assert (table["end"] - table["start"]).tolist() == pytest.approx(table["change"].tolist())
    assert set(table["divergence"]) == {"reverse_kl"} and set(table["n_prompts"]) == {20}


def test_no_arms_give_no_rows():
    table = own_objectives({}, {})
    assert not len(table) and {"method", "start", "end", "lowered"} <= set(table)


def test_bad_input_is_named():
    table = listed("end", END, copies=100)
    with pytest.raises(SpecError, match="did you mean 'reverse_kl'"):
        objective(table, policy="end", divergence="reverse_k")
    with pytest.raises(DataError, match="one side has none"):
        objective(table, policy="other", divergence="reverse_kl")
    with pytest.raises(DataError, match="not finite"):
        objective(table.assign(logprob=-np.inf), policy="end", divergence="reverse_kl")
    with pytest.raises(DataError, match="lacks the columns"):
        objective(table.drop(columns="n_stray"), policy="end", divergence="reverse_kl")
