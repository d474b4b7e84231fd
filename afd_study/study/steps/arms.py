"""Steps that make and measure policies beyond picking (methods.arms). Each reads its inputs' folders."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from afd_study.evaluation import score_vs_kl
from afd_study.evaluation.coverage import coverage, precision_at_equal_length
from afd_study.methods import direct
from afd_study.methods.arms import EQUAL_LENGTH_RIVAL, PICKED_FROM
from afd_study.methods.best_of_n import JUDGE
from afd_study.methods.policy_gradient import optimise
from afd_study.methods.reward_data import RewardData
from afd_study.methods.reward_pairs import pairs
from afd_study.methods.specs import PolicyGradientSpec
from afd_study.models.decoding import Extrapolation, Request, sample
from afd_study.models.distributed import map_across_ranks
from afd_study.models.policy import context_length, device, load_policy, n_parameters, save_policy
from afd_study.models.reward import load_reward_model, rewards
from afd_study.models.scoring import response_kl
from afd_study.models.specs import LoRASpec, SamplingSpec, TrainingSpec
from afd_study.models.tokenizers import decode, load_tokenizer
from afd_study.study.steps.bookkeeping import count_draws
from afd_study.study.steps.encoding import encoded_prompts, examples_from, paired_examples, responses_of
from afd_study.study.steps.policies import samples_table
from afd_study.study.workflow.context import Context, derived_seed
from afd_study.study.workflow.tables import read_table, write_table

ROW = ["prompt_id", "source", "draw"]


def direct_policy(
    out: Path, context: Context, *, name: str, data: RewardData, beta: float, training: TrainingSpec,
    lora: LoRASpec | None, sampling: SamplingSpec, seed: int, tokenizers: Path, prompts: Path,
    demonstrations: Path, policy: Path, **sources: Path,
) -> None:  # fmt: skip
    """Train a policy directly on pairs, from the policy that is its reference: table `history`."""
    tokenizer, lm = load_tokenizer(tokenizers / "policy"), load_policy(policy)
    asked = read_table(prompts, "prompts")
    rows = pairs(data, responses_of(sources), read_table(demonstrations, "demonstrations"))
    both, split = paired_examples(
        rows, ("high", "low"), asked, tokenizer, sampling, context=context_length(lm)
    )
    train, validation = ([both[i] for i in np.flatnonzero(split == part)] for part in ("train", "validation"))
    training = training.over(len(train))
    fitted, history = direct.fit(
        lm, train, validation=validation, beta=beta, training=training, lora=lora,
        seed=derived_seed(seed, "arm", name), workspace=context.workspace,
        progress=context.steps(training.steps),
    )  # fmt: skip
    save_policy(fitted, out)
    write_table(out, "history", history)
    tokens = sum(len(pair.high.ids) + len(pair.low.ids) for pair in train) / len(train)
    spent = history["step"].iloc[-1] * training.batch_size * tokens
    context.spend(tokens=spent, parameters=n_parameters(fitted), passes=3)
    context.spend(tokens=tokens * len(train), parameters=n_parameters(fitted), passes=1)  # the reference


def optimised(
    out: Path, context: Context, *, name: str, ascent: PolicyGradientSpec, lora: LoRASpec | None,
    sampling: SamplingSpec, seed: int, policy: Path, reward_model: Path, tokenizers: Path, prompts: Path,
) -> None:  # fmt: skip
    """Optimise a policy on a reward model, held to where it starts: table `trajectory`.

    A reader's ids are the policy's own with marks behind them: responses are scored as they are drawn.
    """
    tokenizer, asked = load_tokenizer(tokenizers / "policy"), read_table(prompts, "prompts")
    model = load_reward_model(reward_model, device())
    ids = encoded_prompts(asked, tokenizer, sampling)
    train, validation = (
        {str(each): ids[each] for each in asked.loc[asked["split"] == part, "prompt_id"]}
        for part in ("train", "validation")
    )
    lm, path = optimise(
        load_policy(policy), train, reference=load_policy(policy),
        score=lambda examples: rewards(model, examples),
        validation=validation, spec=ascent, seed=derived_seed(seed, "arm", name), lora=lora,
        eos_id=tokenizer.eos_token_id, max_new_tokens=sampling.max_new_tokens, workspace=context.workspace,
        progress=context.steps(ascent.steps * ascent.epochs),
    )  # fmt: skip
    save_policy(lm, out)
    write_table(out, "trajectory", path)
    length = path["length"].mean() + np.mean([len(each) for each in train.values()])
    drawn = float(ascent.steps * ascent.batch_size * ascent.draws * length)
    # a pass to draw, three to train at each epoch, one of the reference's and one of the reward model's
    context.spend(tokens=drawn, parameters=n_parameters(lm), passes=3 * ascent.epochs + 3)


def chosen(out: Path, context: Context, *, high: str, tokenizers: Path, **sources: Path) -> None:
    """Take responses that a policy is to learn by SFT: table `demonstrations`, with their ids where drawn."""
    table = responses_of(sources)[high].rename(columns={"response": "token_ids"})
    texts = decode(load_tokenizer(tokenizers / "policy"), [list(ids) for ids in table["token_ids"]])
    found = table[["prompt_id", "draw", "token_ids"]].assign(text=[text.strip() for text in texts])
    write_table(out, "demonstrations", found)


def picked(out: Path, context: Context, *, scorer: str, samples: Path, scores: Path) -> None:
    """Keep the best of PICKED_FROM draws by a scorer for each demonstration: table `demonstrations`."""
    given = read_table(scores, "scores")
    given = given[given["scorer"] == scorer]
    table = read_table(samples, "samples").merge(given[[*ROW, "reward"]], on=ROW, validate="one_to_one")
    best = (
        table.assign(group=table["draw"] // PICKED_FROM)
        .sort_values(["reward", "draw"], ascending=[False, True], kind="stable")
        .groupby(["prompt_id", "group"], sort=True)
        .first()
        .reset_index()
    )
    columns = ["prompt_id", "draw", "token_ids", "text"]
    write_table(out, "demonstrations", best.drop(columns="draw").rename(columns={"group": "draw"})[columns])


def extrapolated(
    out: Path, context: Context, *, source: str, strength: float, sampling: SamplingSpec, draws: int,
    seed: int, policy: Path, origin: Path, tokenizers: Path, prompts: Path,
) -> None:  # fmt: skip
    """Draw responses to test prompts from policy^strength origin^(1 - strength), tilted token by token.

    Tables `samples` (log-probabilities under the tilted law) and `kls` (to the policy).
    """
    tokenizer, lm, first = load_tokenizer(tokenizers / "policy"), load_policy(policy), load_policy(origin)
    asked = read_table(prompts, "prompts").query("split == 'test'")
    ids = encoded_prompts(asked, tokenizer, sampling)
    requests = [Request(name, ids[name], draw) for name in asked["prompt_id"] for draw in range(draws)]
    drawn = map_across_ranks(requests, partial(
        sample, lm, seed=derived_seed(seed, source, "test"), eos_id=tokenizer.eos_token_id,
        max_new_tokens=sampling.max_new_tokens, extrapolation=Extrapolation(first, strength),
    ))  # fmt: skip
    count_draws(context, requests, drawn, parameters=n_parameters(lm), models=2)
    frame = samples_table(requests, drawn, source=source, tokenizer=tokenizer)
    write_table(out, "samples", frame)
    write_table(out, "kls", frame[ROW].assign(kl=[each.kl for each in drawn]))


def kls(
    out: Path, context: Context, *, sampling: SamplingSpec, policy: Path, reference: Path, tokenizers: Path,
    prompts: Path, samples: Path,
) -> None:  # fmt: skip
    """Give each sample the KL(policy || reference) of its prefixes' next-token laws, in nats: table `kls`."""
    tokenizer, lm, other = load_tokenizer(tokenizers / "policy"), load_policy(policy), load_policy(reference)
    drawn = read_table(samples, "samples")
    rows = examples_from(
        drawn, read_table(prompts, "prompts"), tokenizer, sampling, context=context_length(lm)
    )
    examples = list(rows["example"])
    context.spend(tokens=2 * sum(len(e.ids) for e in examples), parameters=n_parameters(lm), passes=1)
    write_table(out, "kls", drawn[ROW].assign(kl=map_across_ranks(examples, partial(response_kl, lm, other))))


def arms(
    out: Path, context: Context, *, task: str, seed: int, good: float, proxy: str, sizes: Sequence[int],
    strengths: Sequence[float], optimum_strengths: Sequence[float], names: Sequence[str], outcomes: Path,
    judged: Path, optimum: Path, **measured: Path,
) -> None:  # fmt: skip
    """Gather what every arm reaches: table `arms`, and what it costs in nats: table `drift`.

    `arms` has task, seed, policy, metric, prompt_id, value: the metrics of evaluation.coverage, and judge,
    proxy (the reward model's logit, nats) and kl (to pi_SFT, nats a response), means over a prompt's draws;
    beside policies, what DPO's population optimum would score (drift.dpo_optimum).
    """
    named: dict[str, Any] = {"task": task, "seed": seed}
    found = [_levels(name, measured, proxy).assign(**named) for name in names]
    laws = {
        name: read_table(measured[f"{name} densities"], "densities")
        for name in names
        if f"{name} densities" in measured
    }
    found += [coverage(table, policy=name, good=good, **named) for name, table in laws.items()]
    found.append(
        precision_at_equal_length(laws, reference="pi_sft", rival=EQUAL_LENGTH_RIVAL, good=good, **named)
    )
    many = read_table(optimum, "densities")
    found.append(score_vs_kl.dpo_optimum(many, strengths=optimum_strengths, **named))
    shown = read_table(judged, "components").query("source == 'demonstrations'")
    found.append(_means(shown, "value", "judge", "demonstrations").assign(**named))
    columns = ["task", "seed", "policy", "metric", "prompt_id", "value"]
    write_table(out, "arms", pd.concat(found, ignore_index=True)[columns])
    scores = read_table(outcomes, "scores")
    ways = [
        score_vs_kl.best_of_n(scores, judge=JUDGE, scorer=proxy, n=sizes, **named),
        score_vs_kl.sequence_extrapolation(scores, judge=JUDGE, proxy=proxy, strengths=strengths, **named),
    ]
    write_table(out, "drift", pd.concat(ways, ignore_index=True))


def _levels(name: str, measured: Mapping[str, Path], proxy: str) -> pd.DataFrame:
    """Return judge, proxy and kl of one policy by prompt."""
    verdicts = read_table(measured[f"{name} judged"], "components").query("source == @name")
    scored = read_table(measured[f"{name} scores"], "scores").query("source == @name and scorer == @proxy")
    nats = read_table(measured[f"{name} kls"], "kls")
    asked = ((verdicts, "value", "judge"), (scored, "reward", "proxy"), (nats, "kl", "kl"))
    return pd.concat([_means(*each, name) for each in asked], ignore_index=True)


def _means(table: pd.DataFrame, column: str, metric: str, policy: str) -> pd.DataFrame:
    found = table.groupby("prompt_id")[column].mean().rename("value").reset_index()
    return found.assign(metric=metric, policy=policy)
