"""The example that a stranger runs first, on a tiny model."""

import json
import subprocess
import sys
from argparse import Namespace

import numpy as np
import pandas as pd
import pytest
import standins

NUMBERS = {"n": 6, "steps": 4, "batch": 4, "rate": 1e-3, "length": 8, "seed": 0}
FURTHER = ("what is bread", "tell me about roses")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Write a published model, demonstrations and further prompts; name them as the command's options do."""
    folder = tmp_path_factory.mktemp("own")
    rng = np.random.default_rng(3)
    questions = [f"{number} {' '.join(rng.choice(standins.WORDS, size=4))}" for number in range(48)]
    rows = [{"prompt": text, "response": " ".join(rng.choice(standins.WORDS, size=5))} for text in questions]
    (folder / "demonstrations.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pd.DataFrame({"prompt": [*FURTHER, questions[0]]}).to_csv(folder / "prompts.csv", index=False)
    model = standins.policy(folder / "model", gemma=False)
    return {
        "model": str(model),
        "demonstrations": folder / "demonstrations.jsonl",
        "prompts": folder / "prompts.csv",
    }


@pytest.fixture(scope="module")
def pool_and_picks(root, files, tmp_path_factory):
    sys.path.insert(0, str(root / "examples"))
    try:
        import own_model
    finally:
        sys.path.pop(0)
    args = Namespace(**files, **NUMBERS, allow_download=False)
    return own_model.run(args, tmp_path_factory.mktemp("workspace"))


def test_each_prompt_that_nothing_is_trained_on_has_n_samples(pool_and_picks):
    pool, picks = pool_and_picks
    assert (pool.groupby("prompt_id").size() == NUMBERS["n"]).all()
    assert set(pool["prompt_id"]) == set(picks["prompt_id"]) and picks["prompt_id"].is_unique
    prompts = set(picks["text"])
    assert {f"\n\nHuman: {text}\n\nAssistant:" for text in FURTHER} <= prompts
    assert len(FURTHER) < len(prompts) < 24  # the others are the test prompts of the demonstrations


def test_picks_are_the_samples_of_highest_reward(pool_and_picks):
    pool, picks = pool_and_picks
    assert np.isfinite(pool["reward"]).all()
    assert (pool.groupby("prompt_id")["reward"].nunique() > 1).all()
    best = pool.loc[pool.groupby("prompt_id")["reward"].idxmax()].set_index("prompt_id")
    for pick in picks.itertuples():
        assert (pick.draw, pick.response, pick.reward) == tuple(
            best.loc[pick.prompt_id, ["draw", "response", "reward"]]
        )


def test_the_command_prints_what_it_writes(root, files, pool_and_picks, tmp_path):
    options = {**files, **NUMBERS, "out": tmp_path / "picks.jsonl"}
    command = [sys.executable, str(root / "examples" / "own_model.py")]
    command += [word for name, value in options.items() for word in (f"--{name}", str(value))]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in options["out"].read_text(encoding="utf-8").splitlines()]
    assert rows == [json.loads(line) for line in done.stdout.splitlines() if line]
    _, picks = pool_and_picks
    assert [row["prompt_id"] for row in rows] == list(picks["prompt_id"])


def test_it_fits_on_a_page(root):
    assert len((root / "examples" / "own_model.py").read_text().splitlines()) <= 82
