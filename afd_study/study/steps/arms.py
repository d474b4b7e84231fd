"""Steps that make and measure policies beyond picking (methods.arms). Each reads its inputs' folders."""

import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from transformers import PreTrainedModel

from afd_study.evaluation import score_vs_kl
from afd_study.evaluation.coverage import at_equal_length, coverage
from afd_study.evaluation.imitation_objectives import own_objectives
from afd_study.methods import direct
from afd_study.methods.best_of_n import JUDGE
from afd_study.methods.policy_gradient import optimise
from afd_study.methods.rejection_sampling import best_of_each
from afd_study.methods.reward_pairs import RewardData, paired_responses
from afd_study.methods.specs import PolicyGradientSpec
from afd_study.models.batches import Pair
from afd_study.models.decoding import Extrapolation
from afd_study.models.distributed import is_main, map_across_ranks
from afd_study.models.policy import context_length, device, load_policy, n_parameters, save_policy
from afd_study.models.reward import load_reward_model, rewards
from afd_study.models.scoring import response_kl
from afd_study.models.specs import LoRASpec, TrainingSpec
from afd_study.models.tokenizers import decode, load_tokenizer
from afd_study.records import TABLES
from afd_study.study.steps.bookkeeping import count_training
from afd_study.study.steps.drawing import draw_responses, requests_for, samples_table
from afd_study.study.steps.encoding import ROW, CommonInputs, responses_of, split_pairs
from afd_study.study.workflow.context import Context
from afd_study.study.workflow.tables import read_table, write_table

SNAPSHOTS = "snapshots"  # folder of the policies along a direct method's run, by their step


def chosen_responses(out: Path, context: Context, *, source: str, tokenizers: Path, **sources: Path) -> None:
    """Take the responses of one source for SFT: table `demonstrations`, with their ids where drawn."""
    table = responses_of(sources)[source].rename(columns={"response": "token_ids"})
    texts = decode(load_tokenizer(tokenizers / "policy"), [list(ids) for ids in table["token_ids"]])
    chosen = table[["prompt_id", "draw", "token_ids"]].assign(text=[text.strip() for text in texts])
    write_table(out, "demonstrations", chosen)


def best_responses(
    out: Path, context: Context, *, scorer: str, group_size: int, samples: Path, scores: Path
) -> None:
    """Keep the best of `group_size` draws by a scorer for each demonstration: table `demonstrations`."""
    rewards_by_scorer = read_table(scores, "scores").query("scorer == @scorer")
    best = best_of_each(read_table(samples, "samples"), rewards_by_scorer, group_size=group_size)
    write_table(out, "demonstrations", best)


def direct_policy(
    out: Path,
    context: Context,
    *,
    common: CommonInputs,
    name: str,
    high: str,
    low: str,
    beta: float,
    loss: direct.Loss,
    points: int,
    training: TrainingSpec,
    lora: LoRASpec | None,
    demonstrations: Path,
    policy: Path,
    **sources: Path,
) -> None:
    """Train a policy directly on pairs, from the policy that is its reference: table `history`.

    `demonstrations` says how many pairs a prompt gets; the responses are those of the `sources`. Beside the
    policy at its validated stop the run's path is kept: at most `points` of its evaluations, SNAPSHOTS/STEP.
    """
    lm, data = load_policy(policy), RewardData(high, low)
    train, validation = _pairs(common, data, sources, demonstrations, context=context_length(lm))
    training = training.over(len(train))
    snapshots = context.workspace / SNAPSHOTS  # where a resumed run finds those of before
    fitted, history = direct.fit(
        lm,
        train,
        validation=validation,
        beta=beta,
        loss=loss,
        keep=partial(_keep, snapshots, path_steps(training, points)),
        training=training,
        lora=lora,
        seed=common.derived_seed("arm", name),
        workspace=context.workspace,
        progress=context.steps(training.steps),
    )
    _finish(fitted, snapshots, out)
    write_table(out, "history", history)
    count_training(context, fitted, train, training, history["step"].iloc[-1])
    tokens = sum(len(side.ids) for pair in train for side in pair)  # of the reference's log-probabilities
    context.spend(tokens=tokens, parameters=n_parameters(fitted), passes=1)


def _pairs(
    common: CommonInputs, data: RewardData, sources: Mapping[str, Path], counts: Path, *, context: int
) -> tuple[list[Pair], list[Pair]]:
    """Return pairs to train on and for validation, as many to a prompt as it has demonstrations."""
    rows = paired_responses(data, responses_of(sources), read_table(counts, "demonstrations"))
    return split_pairs(*common.pairs(rows, ("high", "low"), common.policy_tokenizer, context=context))


def _keep(folder: Path, steps: Sequence[int], lm: PreTrainedModel, step: int) -> None:
    if step in steps:
        save_policy(lm, folder / str(step))


def _finish(lm: PreTrainedModel, snapshots: Path, out: Path) -> None:
    """Write a policy, and put the policies of its path beside it."""
    save_policy(lm, out)
    if is_main():
        shutil.move(snapshots, out / SNAPSHOTS)


def path_steps(training: TrainingSpec, points: int) -> list[int]:
    """Return the evaluations whose policies are kept: all, or every second, third, ... back from the last."""
    evaluated = [*range(training.evaluate_every, training.steps, training.evaluate_every), training.steps]
    return evaluated[:: -ceil(len(evaluated) / points)][::-1]


def gradient_policy(
    out: Path,
    context: Context,
    *,
    common: CommonInputs,
    name: str,
    training: PolicyGradientSpec,
    lora: LoRASpec | None,
    policy: Path,
    reward_model: Path,
) -> None:
    """Optimise a policy on a reward model, held to where it starts: table `trajectory`.

    A reader's ids are the policy's own with marks behind them: responses are scored as they are drawn.
    """
    model, splits = load_reward_model(reward_model, device()), common.prompt_table["split"]
    train, validation = (
        common.prompt_ids(common.prompt_table[splits == part]) for part in ("train", "validation")
    )
    lm, path = optimise(
        load_policy(policy),
        train,
        reference=load_policy(policy),
        score=lambda examples: rewards(model, examples),
        validation=validation,
        spec=training,
        seed=common.derived_seed("arm", name),
        lora=lora,
        eos_id=common.policy_tokenizer.eos_token_id,
        max_new_tokens=common.sampling.max_new_tokens,
        workspace=context.workspace,
        progress=context.steps(training.steps * training.epochs),
    )
    save_policy(lm, out)
    write_table(out, "trajectory", path)
    length = float(path["length"].mean() + np.mean([len(ids) for ids in train.values()]))
    count_gradient(context, training, length, n_parameters(lm))


def count_gradient(context: Context, training: PolicyGradientSpec, length: float, parameters: int) -> None:
    """Count every pass over the responses, of `length` tokens with their prompts on average.

    A batch is drawn and scored once. Each epoch trains on it and reads the reference's laws; PPO also keeps
    the laws of policy and reference from when the batch was drawn.
    """
    tokens = float(training.steps * training.batch_size * training.draws * length)
    remembered = 2 if training.algorithm == "ppo_clip" else 0
    context.spend(tokens=tokens * (2 + remembered + training.epochs), parameters=parameters, passes=1)
    context.spend(tokens=tokens * training.epochs, parameters=parameters, passes=3)


def extrapolation(
    out: Path,
    context: Context,
    *,
    common: CommonInputs,
    source: str,
    exponent: float,
    draws: int,
    policy: Path,
    origin: Path,
) -> None:
    """Draw responses to test prompts from policy^exponent origin^(1 - exponent), tilted token by token.

    Tables `samples` (log-probabilities under the tilted law) and `kls` (to the policy).
    """
    prompts = common.prompt_table.query("split == 'test'")
    requests = requests_for(common.prompt_ids(prompts), dict.fromkeys(prompts["prompt_id"], draws))
    tilted, seed = Extrapolation(load_policy(origin), exponent), common.derived_seed(source, "test")
    lm = load_policy(policy)
    responses = draw_responses(lm, requests, common, context, seed=seed, extrapolation=tilted)
    table = samples_table(requests, responses, source=source, tokenizer=common.policy_tokenizer)
    write_table(out, "samples", table)
    write_table(out, "kls", table[ROW].assign(kl=[each.kl for each in responses]))


def response_kls(
    out: Path, context: Context, *, common: CommonInputs, policy: Path, reference: Path, samples: Path
) -> None:
    """Give each sample the KL(policy || reference) of its prefixes' next-token laws, in nats: table `kls`."""
    lm, other, table = load_policy(policy), load_policy(reference), read_table(samples, "samples")
    examples = list(common.examples(table, common.policy_tokenizer, context=context_length(lm))["example"])
    context.spend(tokens=2 * sum(len(e.ids) for e in examples), parameters=n_parameters(lm), passes=1)
    kls = map_across_ranks(examples, partial(response_kl, lm, other))
    write_table(out, "kls", table[ROW].assign(kl=kls))


def arms(
    out: Path,
    context: Context,
    *,
    task: str,
    seed: int,
    good: float,
    proxy: str,
    equal_length_rival: str,
    sizes: Sequence[int],
    strengths: Sequence[float],
    optimum_strengths: Sequence[float],
    names: Sequence[str],
    imitated: Mapping[str, tuple[str, str]],
    paths: Sequence[str],
    outcomes: Path,
    judged: Path,
    optimum: Path,
    thresholds: Path,
    **measured: Path,
) -> None:
    """Gather what every arm reaches: table `arms`, and what it costs in nats: table `drift`.

    Beside them table `path` of the arms in `paths`, and `objectives` of those in `imitated`, which says where
    each starts and by which transform of the logit it is rewarded.

    `arms` has task, seed, policy, metric, prompt_id, value: the metrics of evaluation.coverage, and judge,
    proxy (the reward model's logit, nats) and kl (to pi_SFT, nats a response), means over a prompt's draws;
    beside policies, what DPO's population optimum would score (score_vs_kl.dpo_optimum).
    """
    common: dict[str, Any] = {"task": task, "seed": seed}
    frames = [_levels(name, measured, proxy).assign(**common) for name in names]
    folders = {name: measured[f"{name} densities"] for name in names if f"{name} densities" in measured}
    laws = {name: read_table(folder, "densities") for name, folder in folders.items()}
    covers = common | {"good": good, "thresholds": read_table(thresholds, "demonstrator_thresholds")}
    frames += [coverage(table, policy=name, **covers) for name, table in laws.items()]
    frames.append(at_equal_length(laws, reference="pi_sft", rival=equal_length_rival, **covers))
    many = read_table(optimum, "densities")
    frames.append(score_vs_kl.dpo_optimum(many, strengths=optimum_strengths, **common))
    frames.append(_of_demonstrations(judged).assign(**common))
    write_table(out, "arms", pd.concat(frames, ignore_index=True)[list(TABLES["arms"].columns)])
    scores = read_table(outcomes, "scores")
    ways = [
        score_vs_kl.best_of_n_path(scores, judge=JUDGE, scorer=proxy, n=sizes, **common),
        score_vs_kl.sequence_extrapolation(scores, judge=JUDGE, proxy=proxy, strengths=strengths, **common),
    ]
    write_table(out, "drift", pd.concat(ways, ignore_index=True))
    write_table(out, "objectives", own_objectives(laws, imitated).assign(**common))
    write_table(out, "path", _paths(measured, paths).assign(**common))


def _paths(measured: Mapping[str, Path], names: Sequence[str]) -> pd.DataFrame:
    """Return table `path` of some arms, with its columns where there is none."""
    paths = [read_table(measured[f"{name} path"], "path") for name in names]
    return pd.concat(paths) if paths else pd.DataFrame(columns=list(TABLES["path"].columns))


def _of_demonstrations(judged: Path) -> pd.DataFrame:
    """Return what the judge says of demonstrations, by prompt."""
    rows = read_table(judged, "components").query("source == 'demonstrations'")
    return _means(rows, "value", "judge", "demonstrations")


def _levels(name: str, measured: Mapping[str, Path], proxy: str) -> pd.DataFrame:
    """Return judge, proxy and kl of one policy by prompt."""
    verdicts = read_table(measured[f"{name} judged"], "components").query("source == @name")
    scored = read_table(measured[f"{name} scores"], "scores").query("source == @name and scorer == @proxy")
    nats = read_table(measured[f"{name} kls"], "kls")
    parts = ((verdicts, "value", "judge"), (scored, "reward", "proxy"), (nats, "kl", "kl"))
    return pd.concat([_means(*each, name) for each in parts], ignore_index=True)


def _means(table: pd.DataFrame, column: str, metric: str, policy: str) -> pd.DataFrame:
    means = table.groupby("prompt_id")[column].mean().rename("value").reset_index()
    return means.assign(metric=metric, policy=policy)
