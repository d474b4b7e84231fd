"""Steps that make reward models, scores and outcomes. Each reads its inputs' folders and writes its own."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from afd_study.errors import DataError
from afd_study.evaluation.diagnostics import diagnostics, discrimination
from afd_study.evaluation.outcomes import best_of_n_outcomes, levels, summarise, win_rates
from afd_study.evaluation.proportions import preference_accuracy
from afd_study.methods.reward_model import accuracy, both_sides, fit
from afd_study.methods.reward_pairs import Contrast, label_preferences, pairs
from afd_study.methods.selection import JUDGE, scores_of
from afd_study.models.batches import Pair
from afd_study.models.policy import context_length, device, from_scratch, load_policy, n_parameters
from afd_study.models.ranks import shared
from afd_study.models.reward import load_reward_model, on_backbone, rewards, save_reward_model
from afd_study.models.specs import LoRASpec, ModelSpec, SamplingSpec, TrainingSpec
from afd_study.models.tokenizers import decode, load_tokenizer
from afd_study.models.training import Evaluation
from afd_study.study.context import Context, derived_seed
from afd_study.study.encoding import examples_from, paired_examples
from afd_study.study.steps import open_world, refuse_infinite, write_evaluations
from afd_study.study.tables import read_table, write_table


def judged(out: Path, context: Context, *, world: dict[str, Any], prompts: Path, **texts: Path) -> None:
    """Let a controlled world's judge score samples and demonstrations: table `scores`, and the components."""
    asked, verdicts = read_table(prompts, "prompts"), []
    for source, folder in texts.items():
        table = texts_of(folder, source)
        verdict = open_world(world).judge(asked, table)
        verdicts.append(pd.concat([table[["prompt_id", "source", "draw"]], verdict], axis=1))
    components = pd.concat(verdicts, ignore_index=True)
    write_table(out, "components", components)
    scores = components[["prompt_id", "source", "draw"]].assign(scorer=JUDGE, reward=components["value"])
    write_table(out, "scores", scores)


def judged_preferences(
    out: Path, context: Context, *, world: dict[str, Any], scale: float, noise: float, seed: int,
    prompts: Path, pi_init: Path,
) -> None:  # fmt: skip
    """Label pairs of pi_init samples by a controlled world's judge: half as many as there are samples."""
    asked, drawn = read_table(prompts, "prompts"), read_table(pi_init, "samples")
    n_pairs = drawn.groupby("prompt_id")["draw"].transform("size") // 2  # of each sample's prompt
    drawn = drawn.assign(value=open_world(world).judge(asked, drawn)["value"], response=drawn["token_ids"])
    first, second = drawn[drawn["draw"] < n_pairs], drawn[drawn["draw"] >= n_pairs]
    second = second.assign(draw=second["draw"] - n_pairs)
    columns = ["prompt_id", "draw", "response", "value"]
    labelled = label_preferences(
        first[columns], second[columns], scale=scale, noise=noise, seed=derived_seed(seed, "preferences")
    )
    context.cost["labels"] = len(labelled)
    write_table(out, "preferences", labelled)


def chosen_preferences(
    out: Path, context: Context, *, n: int, seed: int, preferences: Path, tokenizers: Path
) -> None:
    """Keep `n` preferences at random, a larger choice holding every smaller one of the same preferences.

    Their preferred side, as table `demonstrations`, sets the number of pairs of each prompt.
    """
    found = read_table(preferences, "preferences")
    if n > len(found):
        raise DataError(f"reward.n_preferences={n}, but there are {len(found)} preferences: ask for fewer")
    order = np.random.default_rng(derived_seed(seed, "chosen preferences")).permutation(len(found))
    kept = found.iloc[np.sort(order[:n])]
    kept = kept.assign(draw=kept.groupby("prompt_id").cumcount())
    context.cost["labels"] = n
    write_table(out, "preferences", kept)
    texts = list(kept["preferred"])
    if not isinstance(texts[0], str):
        texts = decode(load_tokenizer(tokenizers / "policy"), [list(ids) for ids in texts])
    write_table(out, "demonstrations", kept[["prompt_id", "draw"]].assign(text=texts))


def reward_model(
    out: Path, context: Context, *, kind: str, data: Contrast, backbone: str, model: ModelSpec,
    lora: LoRASpec | None, training: TrainingSpec, sampling: SamplingSpec, seed: int, tokenizers: Path,
    prompts: Path, demonstrations: Path, policy: Path | None = None, **sources: Path,
) -> None:  # fmt: skip
    """Train a reward model on pairs; table `reward_model` says how well it tells them apart."""
    reader = load_tokenizer(tokenizers / "reader")
    if backbone == "scratch":
        lm = from_scratch(model, load_tokenizer(tokenizers / "policy"), derived_seed(seed, "scratch"))
    else:
        assert policy is not None  # the pipeline passes the policy that `backbone` names
        lm = load_policy(policy)
    asked = read_table(prompts, "prompts")
    counted = read_table(demonstrations, "demonstrations")
    rows = pairs(data, responses_of(sources), counted)
    both, split = paired_examples(rows, ("high", "low"), asked, reader, sampling, context=context_length(lm))
    train, validation = ([both[i] for i in np.flatnonzero(split == name)] for name in ("train", "validation"))
    training = training.over(len(train))
    fitted, evaluations = fit(
        on_backbone(lm, reader), train, validation=validation, loss=data.loss, training=training,
        seed=derived_seed(seed, "reward", kind), workspace=context.workspace, lora=lora,
        progress=context.steps(training.steps),
    )  # fmt: skip
    high, low = both_sides(fitted, validation)
    save_reward_model(fitted, out)
    write_evaluations(out, evaluations)
    found = {
        "scorer": kind, "loss": data.loss, "n_pairs": len(train), "n_validation": len(validation),
        "accuracy": accuracy(data.loss, high=high, low=low),
        "validation_loss": min(each.validation_loss for each in evaluations),
    }  # fmt: skip
    write_table(out, "reward_model", pd.DataFrame([found]))
    _count_pairs(context, fitted, train, training, evaluations)


def _count_pairs(
    context: Context, model: Any, train: list[Pair], training: TrainingSpec, evaluations: list[Evaluation]
) -> None:
    """Count the tokens that a training on pairs took through the model; its evaluations are not."""
    tokens = sum(len(pair.high.ids) + len(pair.low.ids) for pair in train) / len(train)
    spent = evaluations[-1].step * training.batch_size * tokens
    context.spend(tokens=spent, parameters=n_parameters(model), passes=3)


def scores(
    out: Path, context: Context, *, scorer: str, sampling: SamplingSpec, reward_model: Path, tokenizers: Path,
    prompts: Path, **texts: Path,
) -> None:  # fmt: skip
    """Score samples and demonstrations by a reward model: table `scores`."""
    model = load_reward_model(reward_model, device())
    reader, asked, found = load_tokenizer(tokenizers / "reader"), read_table(prompts, "prompts"), []
    for source, folder in texts.items():
        table = texts_of(folder, source)
        rows = examples_from(table, asked, reader, sampling, context=10**9)
        values = shared(list(rows["example"]), partial(rewards, model))
        refuse_infinite(values, table, scorer, context)
        context.spend(
            tokens=sum(len(e.ids) for e in rows["example"]), parameters=n_parameters(model), passes=1
        )
        found.append(table[["prompt_id", "source", "draw"]].assign(scorer=scorer, reward=values))
    context.cost["responses"] = sum(map(len, found))
    write_table(out, "scores", pd.concat(found, ignore_index=True))


def fitted_judge(
    out: Path, context: Context, *, training: TrainingSpec, sampling: SamplingSpec, seed: int,
    tokenizers: Path, corpus: Path, policy: Path,
) -> None:  # fmt: skip
    """Fit a judge to preferences on its own part of the prompts; table `judge_accuracy` on the other part."""
    asked, prefer = read_table(corpus, "prompts"), read_table(corpus, "preferences")
    reader, lm = load_tokenizer(tokenizers / "reader"), load_policy(policy)
    both, split = paired_examples(
        prefer, ("preferred", "rejected"), asked, reader, sampling, context=context_length(lm)
    )
    own = asked.set_index("prompt_id")["part"].reindex(prefer["prompt_id"]).to_numpy() == "judge"
    train = [both[i] for i in np.flatnonzero(own & (split == "train"))]
    validation = [both[i] for i in np.flatnonzero(own & (split == "validation"))]
    training = training.over(len(train))
    model, evaluations = fit(
        on_backbone(lm, reader), train, validation=validation, loss="bradley_terry", training=training,
        seed=derived_seed(seed, "judge"), workspace=context.workspace,
        progress=context.steps(training.steps),
    )  # fmt: skip
    save_reward_model(model, out)
    write_evaluations(out, evaluations)
    _count_pairs(context, model, train, training, evaluations)
    high, low = both_sides(model, [both[i] for i in np.flatnonzero(~own)])
    right = int((high > low).sum())
    found = preference_accuracy(preferred=high, rejected=low)
    write_table(out, "judge_accuracy", pd.DataFrame([{
        "accuracy": found.mean, "low": found.low, "high": found.high, "n_right": right, "n_pairs": len(high),
        "n_training_pairs": len(train), "longer_preferred": _longer_preferred(both, ~own),
    }]))  # fmt: skip


def outcomes(
    out: Path, context: Context, *, task: str, seed: int, sampling: SamplingSpec,
    scorers: dict[str, Contrast], pool: Path, init_logprobs: Path, judged: Path, **scored: Path,
) -> None:  # fmt: skip
    """Judge every selection rule at every n on one pool: outcomes, summary, win rates and diagnostics."""
    everything = _every_score(pool, init_logprobs, read_table(judged, "scores"), scored)
    rng = np.random.default_rng([seed, 6])
    name: dict[str, Any] = {"task": task, "seed": seed, "judge": JUDGE}
    found = best_of_n_outcomes(everything, n_max=sampling.n_max, **name)
    found = pd.concat([found, levels(everything, **name)], ignore_index=True)
    write_table(out, "scores", everything)
    write_table(out, "outcomes", found)
    write_table(out, "summary", summarise(found, rng))
    wanted = sorted({1, min(16, sampling.n_max), sampling.n_max})
    opponents = [
        each
        for each in ("pi_sft", "demonstrations")
        if each in set(everything.loc[everything["scorer"] == JUDGE, "source"])
    ]
    won = [win_rates(everything, opponent=each, n=wanted, **name) for each in opponents]
    write_table(out, "win_rates", pd.concat(won, ignore_index=True))
    write_table(out, "diagnostics", diagnostics(everything, generator=rng, **name))
    write_table(out, "discrimination", _discriminations(everything, scorers, rng))


def all_scores(out: Path, context: Context, *, pool: Path, init_logprobs: Path, **scored: Path) -> None:
    """Gather the scores of every rule where there is no judge: what a person may pick by."""
    write_table(out, "scores", _every_score(pool, init_logprobs, None, scored))


def _every_score(
    pool: Path, init_logprobs: Path, verdicts: pd.DataFrame | None, scored: dict[str, Path]
) -> pd.DataFrame:
    """Return the scores of the judge (if any), of the rules that need no training, and of reward models."""
    ids = ["prompt_id", "source", "draw"]
    samples = read_table(pool, "samples").merge(
        read_table(init_logprobs, "logprobs"), on=ids, validate="one_to_one"
    )
    rules = scores_of(samples)
    rules = rules[rules["scorer"] != "random"]  # the pool's evaluation has random and oracle itself
    given = [] if verdicts is None else [verdicts]
    return pd.concat([*given, rules, *(read_table(folder, "scores") for folder in scored.values())])


def _discriminations(
    scores: pd.DataFrame, scorers: dict[str, Contrast], rng: np.random.Generator
) -> pd.DataFrame:
    """On test prompts, how well each discriminator tells its own two sources apart.

    Preferences are no sources of test responses: a study of that reward model alone has an empty table.
    """
    sources = set(scores["source"].unique())
    bounds = [f"{name}{end}" for name in ("accuracy", "auc") for end in ("", "_low", "_high")]
    columns = ["scorer", "positive", "negative", *bounds, "interval", "n_prompts"]
    rows = [pd.DataFrame(columns=columns)]
    for scorer, contrast in scorers.items():
        if {contrast.high, contrast.low} <= sources:
            rows.append(discrimination(
                scores, scorer=scorer, positive=contrast.high, negative=contrast.low, generator=rng,
            ))  # fmt: skip
    return pd.concat(rows[1:] or rows, ignore_index=True)


def texts_of(folder: Path, source: str) -> pd.DataFrame:
    """Read samples, or demonstrations with their source named as samples have it."""
    if (folder / "samples.parquet").exists():
        return read_table(folder, "samples")
    return read_table(folder, "demonstrations").assign(source=source)


def responses_of(sources: dict[str, Path]) -> dict[str, pd.DataFrame]:
    """Return each source's responses: ids where they were drawn, text where they were written."""
    tables: dict[str, pd.DataFrame] = {}
    for name, folder in sources.items():
        source = name.removeprefix("source_")
        if source == "preferences":
            table = read_table(folder, "preferences")
            tables["preferred"] = table.rename(columns={"preferred": "response"})
            tables["rejected"] = table.rename(columns={"rejected": "response"})
        else:
            table = texts_of(folder, source)
            column = "token_ids" if "token_ids" in table.columns else "text"
            tables[source] = table.rename(columns={column: "response"})
    return tables


def _longer_preferred(pairs_: list[Pair], where: np.ndarray) -> float:
    """Return how often people prefer the longer answer, ties half: what a judge of length alone would get."""
    lengths = [(len(pairs_[i].high.ids), len(pairs_[i].low.ids)) for i in np.flatnonzero(where)]
    return float(np.mean([(high > low) + 0.5 * (high == low) for high, low in lengths]))
