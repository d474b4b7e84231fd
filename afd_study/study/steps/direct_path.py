"""The step that samples and judges the policies along a direct method's run (steps.arms.direct_policy)."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from afd_study.models.policy import load_policy
from afd_study.study.steps.arms import SNAPSHOTS
from afd_study.study.steps.drawing import draw_responses, requests_for, samples_table
from afd_study.study.steps.encoding import CommonInputs, spoken_words
from afd_study.study.workflow.context import Context
from afd_study.study.workflow.tables import read_table, write_table
from afd_study.worlds.controlled import ControlledWorld, open_world
from afd_study.worlds.grammar import split_words


def direct_path(
    out: Path,
    context: Context,
    *,
    common: CommonInputs,
    world: Mapping[str, Any],
    method: str,
    n_prompts: int,
    draws: int,
    start: Path,
    policy: Path,
) -> None:
    """Have every policy that a run kept answer test prompts, and the world's judge read them: table `path`.

    The points are the reference (step 0), the snapshots, and the validated stop. All answer the same prompts
    with the same random numbers. `stray_share` is by the demonstrators' law; `off_grammar` is by the judge's
    reading: the share of samples with a sentence that is no clause of the world, even with two words struck
    out, which the judge counts among the component `faults`. A sentence that the horizon cuts is one, too.
    """
    judge, history = open_world(world), read_table(policy, "history").set_index("step")
    prompts = _some_prompts(common, n_prompts)
    requests = requests_for(common.prompt_ids(prompts), dict.fromkeys(prompts["prompt_id"], draws))
    rows = []
    for step, folder in _points(start, policy, history):
        seed = common.derived_seed("path")  # the same at every point, and for every method
        drawn = draw_responses(load_policy(folder), requests, common, context, seed=seed)
        samples = samples_table(requests, drawn, source=method, tokenizer=common.policy_tokenizer)
        went = history.loc[step, ["validation_loss", "preferred_logprob", "rejected_logprob"]]
        rows.append({"method": method, "step": step, **went, **_reading(samples, prompts, judge, common)})
    write_table(out, "path", pd.DataFrame(rows))


def _some_prompts(common: CommonInputs, n: int) -> pd.DataFrame:
    """Return at most `n` test prompts, drawn by seed."""
    tested = common.prompt_table.query("split == 'test'")
    order = np.random.default_rng(common.derived_seed("path prompts")).permutation(len(tested))
    return tested.iloc[order[:n]]


def _points(start: Path, policy: Path, history: pd.DataFrame) -> Iterator[tuple[int, Path]]:
    """Yield step and folder of the policies of a run, in order."""
    kept = {int(folder.name): folder for folder in (policy / SNAPSHOTS).iterdir()}
    steps = [int(step) for step in history.index.to_numpy()]
    losses = dict(zip(steps, history["validation_loss"].tolist(), strict=True))
    stop = min((step for step in steps if step > 0), key=lambda step: losses[step])
    yield from sorted((kept | {stop: policy, 0: start}).items())


def _reading(
    samples: pd.DataFrame, prompts: pd.DataFrame, world: ControlledWorld, common: CommonInputs
) -> dict[str, float]:
    """Return what the judge and both laws say of a policy's samples, in the columns of table `path`."""
    points = world.judge(prompts, samples)["value"]
    facts = prompts.set_index("prompt_id")
    laws = {name: world.law("demonstrators", facts.loc[name].to_dict()) for name in facts.index}
    words = [spoken_words(ids, common.policy_tokenizer) for ids in samples["token_ids"]]
    stray = [laws[name].n_stray(said) > 0 for name, said in zip(samples["prompt_id"], words, strict=True)]
    unknown = [world.inventory().read(split_words(text)).unknown > 0 for text in samples["text"]]
    first = samples["prompt_id"].isin(facts.index[: -(-len(facts) // 2)])
    return {
        "judge": points.mean(),
        "judge_1": points[first].mean(),
        "judge_2": points[~first].mean(),
        "stray_share": float(np.mean(stray)),
        "off_grammar": float(np.mean(unknown)),
        "length": float(np.mean([len(said) for said in words])),
        "n": len(samples),
    }
