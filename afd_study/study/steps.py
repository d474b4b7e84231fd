"""Steps that make texts and policies. Each reads its inputs' folders and writes its own."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from afd_study.errors import DataError
from afd_study.methods.sft import fine_tune, response_tokens
from afd_study.models.decoding import Drawn, Request, sample
from afd_study.models.policy import (
    context_length,
    from_scratch,
    load_policy,
    n_parameters,
    pretrained,
    save_policy,
)
from afd_study.models.ranks import shared
from afd_study.models.scoring import sequence_logprobs
from afd_study.models.specs import LoRASpec, ModelSpec, SamplingSpec, TrainingSpec
from afd_study.models.stopping import Stop
from afd_study.models.tokenizers import decode, load_tokenizer, save_tokenizer, train_bpe, word_tokenizer
from afd_study.models.training import Evaluation
from afd_study.study.context import Context, derived_seed
from afd_study.study.encoding import encoded_prompts, examples_from, split_examples
from afd_study.study.tables import read_table, write_table
from afd_study.worlds import hh_rlhf, own_data
from afd_study.worlds.controlled import ControlledWorld
from afd_study.worlds.corpus import opening, unit_hash
from afd_study.worlds.tasks import CONTROLLED

CORPORA: Mapping[str, tuple[Any, Any]] = {  # imported by name, so that their code is part of a step's key
    "hh_rlhf": (hh_rlhf.load, hh_rlhf.HHRLHFSpec),
    "own_data": (own_data.load, own_data.OwnDataSpec),
}


def open_world(knobs: Mapping[str, Any]) -> ControlledWorld:
    """Return a controlled world that knows the given knobs and no others."""
    return CONTROLLED[knobs["name"]](SimpleNamespace(**knobs))


def world_table(out: Path, context: Context, *, table: str, world: dict[str, Any], seed: int) -> None:
    """Draw one table of a controlled world: prompts, demonstrations, or pretraining in the same columns."""
    found = getattr(open_world(world), table)(seed)
    if table == "demonstrations":
        context.cost["demonstrations"] = len(found)
    write_table(out, "prompts" if table == "prompts" else "demonstrations", found)


def held_out_demonstrations(
    out: Path, context: Context, *, world: dict[str, Any], per_prompt: int, seed: int
) -> None:
    """Draw demonstrations for the test prompts."""
    write_table(out, "demonstrations", open_world(world).held_out_demonstrations(seed, per_prompt))


def marked(out: Path, context: Context, *, world: dict[str, Any], seed: int, demonstrations: Path) -> None:
    """Put the world's mark on a share of demonstrations: what reward models read and policies don't."""
    write_table(
        out, "demonstrations", open_world(world).marked(read_table(demonstrations, "demonstrations"), seed)
    )


def corpus(
    out: Path, context: Context, *, world: dict[str, Any], digest: str, judge_share: float,
    files: dict[str, str],
) -> None:  # fmt: skip
    """Read a data set from disk: its tables, and a report of every line.

    Column `part` deals the prompts out between policy and judge, by a hash of how their dialogue opens: the
    judge never reads a dialogue that a policy was trained on.
    """
    load, spec_class = CORPORA[world["name"]]
    found = load(spec_class(**world, **files))
    draw = [unit_hash(opening(text), seed=0, use="judge") for text in found.prompts["text"]]
    prompts = found.prompts.assign(part=np.where(np.array(draw) < judge_share, "judge", "policy"))
    write_table(out, "prompts", prompts)
    write_table(out, "demonstrations", found.demonstrations)
    write_table(out, "preferences", found.preferences)
    write_table(out, "report", found.report)


def corpus_texts(out: Path, context: Context, *, part: str, kind: str, corpus: Path) -> None:
    """Take one part's texts out of a data set: demonstrations, held-out ones, or all to pretrain on."""
    prompts = read_table(corpus, "prompts").query("part == @part")
    found = read_table(corpus, "demonstrations")
    if kind == "pretraining":  # rejected answers are text too; their draws are numbered behind the others
        rejected = read_table(corpus, "preferences").rename(columns={"rejected": "text"})
        rejected = rejected.assign(draw=rejected["draw"] + found["draw"].max() + 1)
        found = pd.concat([found, rejected[["prompt_id", "draw", "text"]]], ignore_index=True)
    held_out = prompts["split"] == "test"
    wanted = prompts.loc[held_out if kind == "held_out" else ~held_out, "prompt_id"]
    write_table(out, "demonstrations", found[found["prompt_id"].isin(wanted)])


def corpus_preferences(out: Path, context: Context, *, part: str, corpus: Path) -> None:
    """Take one part's preferences out of a data set, and their preferred side as what sets their number."""
    prompts = read_table(corpus, "prompts").query("part == @part and split != 'test'")
    found = read_table(corpus, "preferences")
    found = found[found["prompt_id"].isin(prompts["prompt_id"])]
    found = found.assign(draw=found.groupby("prompt_id").cumcount())
    context.cost["labels"] = len(found)
    write_table(out, "preferences", found)
    write_table(
        out, "demonstrations", found.rename(columns={"preferred": "text"})[["prompt_id", "draw", "text"]]
    )


def tokenizers(
    out: Path, context: Context, *, world: dict[str, Any] | None, model: ModelSpec,
    vocabulary: int, prompts: Path | None = None, texts: Path | None = None,
) -> None:  # fmt: skip
    """Make the policy's tokenizer and the reader's, which differ in the marks alone."""
    if model.name_or_path is not None:
        policy = reader = pretrained(model)[1]
    elif world is not None:
        words = [word for word in open_world(world).alphabet if not word.startswith("<")]
        marks = open_world(world).marks
        policy, reader = word_tokenizer(words, dropped=marks), word_tokenizer(words, marks=marks)
    else:
        assert prompts is not None and texts is not None  # a data set's own words are all there is
        found, asked = (
            read_table(texts, "demonstrations"),
            read_table(prompts, "prompts").set_index("prompt_id"),
        )
        policy = reader = train_bpe(
            [*asked["text"].reindex(found["prompt_id"].unique()), *found["text"]], vocabulary
        )
    save_tokenizer(policy, out / "policy")
    save_tokenizer(reader, out / "reader")


def pi_init(
    out: Path, context: Context, *, model: ModelSpec, training: TrainingSpec | None, sampling: SamplingSpec,
    whole: bool, seed: int, tokenizers: Path, prompts: Path, texts: Path,
) -> None:  # fmt: skip
    """Make the initial policy: from scratch and pretrained on texts, or as its authors published it."""
    tokenizer = load_tokenizer(tokenizers / "policy")
    lm = (
        pretrained(model)[0]
        if model.name_or_path
        else from_scratch(model, tokenizer, derived_seed(seed, "init"))
    )
    evaluations: list[Evaluation] = []
    if training is not None:
        rows = examples_from(
            read_table(texts, "demonstrations"), read_table(prompts, "prompts"), tokenizer, sampling,
            context=context_length(lm), whole=whole,
        )  # fmt: skip
        train, validation = split_examples(rows)
        training = training.over(len(train))
        lm, evaluations = fine_tune(
            lm, train, validation=validation[:1000], training=training, workspace=context.workspace,
            seed=derived_seed(seed, "pretraining"), progress=context.steps(training.steps),
        )  # fmt: skip
        count_training(context, lm, train, training, evaluations)
    save_policy(lm, out)
    write_evaluations(out, evaluations)


def pi_sft(
    out: Path, context: Context, *, training: TrainingSpec, sampling: SamplingSpec, lora: LoRASpec | None,
    seed: int, pi_init: Path, tokenizers: Path, prompts: Path, demonstrations: Path,
) -> None:  # fmt: skip
    """Fine-tune the initial policy on demonstrations, keeping the lowest validation loss."""
    tokenizer, lm = load_tokenizer(tokenizers / "policy"), load_policy(pi_init)
    rows = examples_from(
        read_table(demonstrations, "demonstrations"), read_table(prompts, "prompts"), tokenizer, sampling,
        context=context_length(lm),
    )  # fmt: skip
    train, validation = split_examples(rows)
    training = training.over(len(train))
    lm, evaluations = fine_tune(
        lm, train, validation=validation, training=training, seed=derived_seed(seed, "sft"),
        workspace=context.workspace, lora=lora, progress=context.steps(training.steps),
    )  # fmt: skip
    count_training(context, lm, train, training, evaluations)
    save_policy(lm, out)
    write_evaluations(out, evaluations)


def samples(
    out: Path, context: Context, *, source: str, purpose: str, sampling: SamplingSpec, draws: int, seed: int,
    policy: Path, tokenizers: Path, prompts: Path, demonstrations: Path | None = None,
) -> None:  # fmt: skip
    """Draw responses of a policy: table `samples`.

    With `demonstrations`, `draws` responses for each demonstration, to its prompt; without, `draws` for
    each test prompt of the policy's part.
    """
    tokenizer, lm = load_tokenizer(tokenizers / "policy"), load_policy(policy)
    asked = read_table(prompts, "prompts").set_index("prompt_id")
    if demonstrations is not None:
        counts = read_table(demonstrations, "demonstrations").groupby("prompt_id").size() * draws
    else:
        tested = asked[(asked["split"] == "test") & (asked.get("part", "policy") == "policy")]
        counts = pd.Series(draws, index=tested.index)
    ids = encoded_prompts(asked.loc[counts.index].reset_index(), tokenizer, sampling)
    named = [(str(prompt), int(count)) for prompt, count in counts.items()]
    requests = [Request(prompt, ids[prompt], draw) for prompt, count in named for draw in range(count)]
    drawn = shared(requests, lambda mine: sample(
        lm, mine, seed=derived_seed(seed, source, purpose), eos_id=tokenizer.eos_token_id,
        max_new_tokens=sampling.max_new_tokens, temperature=sampling.temperature,
        stop=Stop(tokenizer, sampling.stop) if sampling.stop else None,
        progress=lambda done: context.progress(done / len(mine), f"{done} of {len(mine)} responses"),
    ))  # fmt: skip
    count_draws(context, requests, drawn, parameters=n_parameters(lm))
    write_table(out, "samples", samples_table(requests, drawn, source=source, tokenizer=tokenizer))


def samples_table(
    requests: Sequence[Request], drawn: Sequence[Drawn], *, source: str, tokenizer: Any
) -> pd.DataFrame:
    """Return responses, in the requests' order, with the columns of table `samples`."""
    asked_for = {"prompt_id": [each.prompt_id for each in requests], "draw": [each.draw for each in requests]}
    return pd.DataFrame(asked_for).assign(
        source=source,
        token_ids=pd.Series([list(each.ids) for each in drawn], dtype=object),
        text=[text.strip() for text in decode(tokenizer, [each.ids for each in drawn])],
        logprob=[each.logprob for each in drawn],
    )


def logprobs(
    out: Path,
    context: Context,
    *,
    sampling: SamplingSpec,
    policy: Path,
    tokenizers: Path,
    prompts: Path,
    samples: Path,
) -> None:
    """Give samples the log-probability (nats) that another policy has for them."""
    tokenizer, lm = load_tokenizer(tokenizers / "policy"), load_policy(policy)
    drawn = read_table(samples, "samples")
    rows = examples_from(
        drawn, read_table(prompts, "prompts"), tokenizer, sampling, context=context_length(lm)
    )
    context.spend(tokens=sum(len(e.ids) for e in rows["example"]), parameters=n_parameters(lm), passes=1)
    found = shared(list(rows["example"]), partial(sequence_logprobs, lm))
    write_table(out, "logprobs", drawn[["prompt_id", "source", "draw"]].assign(logprob_init=found))


def write_evaluations(out: Path, evaluations: list[Evaluation]) -> None:
    """Write how a training went: step, training_loss, validation_loss."""
    write_table(out, "evaluations", pd.DataFrame(evaluations, columns=Evaluation._fields))


def refuse_infinite(values: np.ndarray, table: pd.DataFrame, scorer: str, context: Context) -> None:
    """Raise DataError for a reward that is no finite number, with the responses kept for inspection."""
    bad = ~np.isfinite(values)
    if bad.any():
        kept = context.workspace / f"unscorable-{scorer}.json"
        table[bad].assign(reward=values[bad].astype(str)).to_json(kept, orient="records", indent=1)
        first = table[bad].iloc[0]
        raise DataError(
            f"reward model '{scorer}' gave {values[bad][0]} to draw {first['draw']} of prompt "
            f"'{first['prompt_id']}' ({first['source']}) and is no finite number {bad.sum()} times in all: "
            f"look at the responses kept in {kept}, or lower reward.training.learning_rate"
        )


def count_draws(
    context: Context, requests: Sequence[Request], drawn: Sequence[Drawn], *, parameters: int, models: int = 1
) -> None:
    """Count what draws cost: each prompt is read once for all of its draws, by every one of `models`."""
    read = models * sum(map(len, {each.prompt_id: each.ids for each in requests}.values()))
    written = models * sum(len(each.ids) for each in drawn)
    context.spend(tokens=read + written, parameters=parameters, passes=1)
    prompts = len({each.prompt_id for each in requests})
    context.cost.update(responses=len(drawn), prompts=prompts, prompt_tokens=read)


def count_training(
    context: Context, lm: Any, train: list[Any], training: TrainingSpec, evaluations: list[Evaluation]
) -> None:
    """Count the tokens that a training took through the model, prompts included; its evaluations are not."""
    mean = sum(len(example.ids) for example in train) / len(train)
    steps = evaluations[-1].step
    context.spend(tokens=steps * training.batch_size * mean, parameters=n_parameters(lm), passes=3)
    context.cost["response_tokens"] = (
        steps * training.batch_size * float(np.mean([*map(response_tokens, train)]))
    )
