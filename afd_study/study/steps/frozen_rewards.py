"""Steps of reward models on frozen states: a policy reads each text once, and heads take seconds."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors.numpy import load_file, save_file
from transformers import PreTrainedModel

from afd_study.errors import SpecError
from afd_study.methods.frozen_heads import Head, Pairs, Shape, fit_head, head_of, head_rewards
from afd_study.methods.reward_model import accuracy
from afd_study.methods.reward_pairs import PAIR, RewardData, paired_responses
from afd_study.models.batches import Example
from afd_study.models.distributed import map_across_ranks
from afd_study.models.policy import context_length, device, load_policy, n_parameters
from afd_study.models.reward import reading_backbone
from afd_study.models.text_states import n_layers, text_states as states_of
from afd_study.study.steps.encoding import ROW, TRAINED_ON, CommonInputs, response_ids, responses_of, texts_of
from afd_study.study.steps.preferences import write_judge_accuracy
from afd_study.study.steps.scoring import refuse_infinite
from afd_study.study.workflow.context import Context
from afd_study.study.workflow.tables import read_table, write_table

STATES, HEAD, OF = "states.safetensors", "head.safetensors", "states_"  # OF: input "states_x" is of input "x"
DEPTH = 2 / 3  # of a model's blocks, whose states are read by default


def text_states(
    out: Path, context: Context, *, common: CommonInputs, layer: int | None, policy: Path, texts: Path
) -> None:
    """Read the texts of a step by a policy that stays as it is: an array of states a source.

    `layer` is a block, from 1; None is the one at two thirds of the depth.
    """
    lm = load_policy(policy)
    reading_backbone(lm, common.reader_tokenizer)  # marks, which the policy never sees, get rows
    lm.to(device())  # type: ignore[arg-type]  # transformers wraps it
    block, arrays = layer or max(1, round(DEPTH * n_layers(lm))), {}
    for source, table in _tables(texts).items():
        rows = common.examples(table, common.reader_tokenizer, context=context_length(lm))
        examples = list(rows["example"])
        context.spend(tokens=sum(len(each.ids) for each in examples), parameters=n_parameters(lm), passes=1)
        arrays[source] = map_across_ranks(examples, partial(_states, lm, block))
    save_file(
        {name: np.ascontiguousarray(each, dtype=np.float32) for name, each in arrays.items()}, out / STATES
    )


def _states(lm: PreTrainedModel, layer: int, examples: Sequence[Example]) -> np.ndarray:
    return states_of(lm, examples, layer=layer, logprobs=False).states


def _tables(folder: Path) -> dict[str, pd.DataFrame]:
    """Return what a step wrote to be read, by source: of preferences both sides, else one table."""
    if (folder / "preferences.parquet").exists() and not (folder / "samples.parquet").exists():
        sides = responses_of({"preferences": folder})
        return {side: _as_texts(table) for side, table in sides.items()}
    if (folder / "edits.parquet").exists():
        return {"edits": read_table(folder, "edits")}
    table = texts_of(folder, "demonstrations")
    return {str(table["source"].iloc[0]): table}


def _as_texts(table: pd.DataFrame) -> pd.DataFrame:
    kind = "text" if isinstance(table["response"].iloc[0], str) else "token_ids"
    return table.rename(columns={"response": kind})


def frozen_reward(
    out: Path,
    context: Context,
    *,
    common: CommonInputs,
    kind: str,
    data: RewardData,
    shape: Shape,
    demonstrations: Path,
    **sources: Path,
) -> None:
    """Fit a head on the states of pairs; table `reward_model` says how well it tells them apart.

    `demonstrations` says how many pairs a prompt gets. Each other input `x` holds responses, and `states_x`
    their states.
    """
    texts = {name: folder for name, folder in sources.items() if not name.startswith(OF)}
    tables = {name: each.assign(response=range(len(each))) for name, each in responses_of(texts).items()}
    rows = paired_responses(data, tables, read_table(demonstrations, "demonstrations", PAIR))
    states = {
        name: each for folder in texts for name, each in load_file(sources[OF + folder] / STATES).items()
    }
    split = common.prompts_by_id["split"].loc[rows["prompt_id"]].to_numpy()
    train, validation = (_pairs(rows[split == name], data, states) for name in TRAINED_ON)
    shape = "linear" if data.loss == "bradley_terry" else shape  # which alone fits differences exactly
    seed = common.derived_seed("reward", kind)
    fitted = fit_head(train, validation, loss=data.loss, shape=shape, seed=seed)
    save_file(fitted.head.arrays(), out / HEAD)
    high, low = (head_rewards(fitted.head, each) for each in validation)
    row = {
        **{"scorer": kind, "loss": data.loss, "n_pairs": len(train.high), "n_validation": len(high)},
        **{"accuracy": accuracy(data.loss, high=high, low=low), "validation_loss": fitted.losses[fitted.l2]},
        "l2": fitted.l2,
    }
    write_table(out, "reward_model", pd.DataFrame([row]))


def _pairs(rows: pd.DataFrame, data: RewardData, states: dict[str, np.ndarray]) -> Pairs:
    high, low = (
        states[source][rows[side].to_numpy(dtype=np.int64)].astype(np.float64)
        for side, source in (("high", data.high), ("low", data.low))
    )
    return Pairs(high, low)


def frozen_judge(
    out: Path, context: Context, *, common: CommonInputs, corpus: Path, states_corpus: Path
) -> None:
    """Fit a linear judge to people's pairs on its own part of the prompts, and try it on the other part."""
    labels, states = read_table(corpus, "preferences"), load_file(states_corpus / STATES)
    about = common.prompts_by_id.loc[labels["prompt_id"]]
    own, split = about["part"].to_numpy() == "judge", about["split"].to_numpy()

    def pairs(mask: np.ndarray) -> Pairs:
        return Pairs(*(states[side][mask].astype(np.float64) for side in ("preferred", "rejected")))

    train, validation = (pairs(own & (split == name)) for name in TRAINED_ON)
    fitted = fit_head(train, validation, loss="bradley_terry")
    save_file(fitted.head.arrays(), out / HEAD)
    high, low = (head_rewards(fitted.head, each) for each in pairs(~own))
    sides = [labels.loc[~own, side].tolist() for side in ("preferred", "rejected")]
    tokens = [
        [len(ids) for ids in response_ids(side, common.reader_tokenizer, common.sampling)] for side in sides
    ]
    write_judge_accuracy(out, high, low, lengths=np.array(tokens).T, n_training=len(train.high))


def frozen_scores(out: Path, context: Context, *, scorer: str, reward_model: Path, **sources: Path) -> None:
    """Score samples and demonstrations by a head on their states: table `scores`."""
    head = _head(reward_model)
    texts = {name: folder for name, folder in sources.items() if not name.startswith(OF)}
    frames = [
        _scored(head, folder, sources[OF + name], scorer, context).assign(source=name)
        for name, folder in texts.items()
    ]
    context.cost["responses"] = sum(map(len, frames))
    table = pd.concat(frames, ignore_index=True)[[*ROW, "reward"]]
    write_table(out, "scores", table.assign(scorer=scorer))


def frozen_edit_scores(
    out: Path, context: Context, *, scorer: str, reward_model: Path, edits: Path, states_edits: Path
) -> None:
    """Score edited samples by a head on their states: table `edit_scores`."""
    table = _scored(_head(reward_model), edits, states_edits, scorer, context)
    write_table(out, "edit_scores", table[[*ROW, "edit", "reward"]].assign(scorer=scorer))


def _scored(head: Head, texts: Path, states: Path, scorer: str, context: Context) -> pd.DataFrame:
    """Return a step's texts with their rewards. Raises DataError for one that is no finite number."""
    ((source, table),) = _tables(texts).items()
    values = head_rewards(head, load_file(states / STATES)[source])
    refuse_infinite(values, table, scorer, context)
    return table.assign(reward=values)


def _head(folder: Path) -> Head:
    if not (folder / HEAD).is_file():
        raise SpecError(f"{folder} holds no head on frozen states: this reward model was trained whole")
    return head_of(load_file(folder / HEAD))
