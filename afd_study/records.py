"""The columns of every table that passes between floors: tidy frames, joined on ids, never on position.

A table is a pandas DataFrame. `checked` is the one gate: it refuses a frame that lacks a column, holds
a missing value, or repeats a key.
"""

from dataclasses import dataclass

import pandas as pd

from afd_study.errors import DataError, unknown_name


@dataclass(frozen=True)
class Table:
    """A table's columns in order, those that together name a row (`key`, unique; empty: no key), and `holes`.

    `holes` are the columns that may lack values: a correlation with a constant is undefined.
    """

    columns: tuple[str, ...]
    key: tuple[str, ...] = ()
    holes: tuple[str, ...] = ()


_ROW = ("prompt_id", "source", "draw")  # what names a response
_OUTCOME = ("task", "seed", "method", "n", "prompt_id", "judge")
_METRIC = ("task", "seed", "policy", "metric", "prompt_id")
_PESSIMISM = ("task", "seed", "method", "beta", "n", "prompt_id")
_BOUNDS = ("low", "high", "interval", "n_prompts")

TABLES: dict[str, Table] = {
    # --- texts
    # what is asked; split is train, validation or test, disjoint by prompt
    "prompts": Table(("prompt_id", "split", "text"), ("prompt_id",)),
    # what a behaviour policy answered; several draws a prompt
    "demonstrations": Table(("prompt_id", "draw", "text"), ("prompt_id", "draw")),
    # two answers to one prompt and which one a person (or the judge) prefers
    "preferences": Table(("prompt_id", "draw", "preferred", "rejected"), ("prompt_id", "draw")),
    # what became of every line of a data set
    "report": Table(("file", "line", "kept", "reason")),
    # of SFT's demonstrations: how many sides (prompt, response) were cut at their bound (tokens)
    "cut": Table(("side", "n", "n_cut", "bound"), ("side",)),
    # prompts that are too long, where these are left out
    "left_out": Table(("prompt_id", "split", "tokens"), ("prompt_id",)),
    # what a policy answered; token_ids without padding, logprob in nats of the whole response with EOS
    "samples": Table((*_ROW, "token_ids", "text", "logprob"), _ROW),
    # the log-probability (nats) that pi_init, or SFT at half of its steps, has for samples of another policy
    "logprobs": Table((*_ROW, "logprob_init"), _ROW),
    # --- training
    # losses (nats) at every evaluation
    "evaluations": Table(("step", "training_loss", "validation_loss"), ("step",)),
    # SFT of several lengths, and the one whose score is nearest to the target (judge points)
    "matching": Table(("steps", "score", "target", "chosen"), ("steps",)),
    # losses and log-probabilities (nats) of a direct method
    "history": Table(
        ("step", "training_loss", "validation_loss", "preferred_logprob", "rejected_logprob"),
        ("step",),
        ("training_loss",),
    ),
    # a policy's path while it is optimised: mean reward, nats from the reference, tokens and nats a response
    "trajectory": Table(("step", "proxy", "kl", "length", "entropy"), ("step",)),
    # what a reward model was trained on, and how well it tells validation pairs apart
    "reward_model": Table(
        ("scorer", "loss", "n_pairs", "n_validation", "accuracy", "validation_loss"), ("scorer",)
    ),
    # how often a fitted judge agrees with people on pairs that it has not seen
    "judge_accuracy": Table(
        ("accuracy", "low", "high", "n_right", "n_pairs", "n_training_pairs", "longer_preferred")
    ),
    # --- scores
    # what a scorer (reward model, closed form, length, judge) says of a response
    "scores": Table((*_ROW, "scorer", "reward"), (*_ROW, "scorer")),
    # a controlled world's judge: its components and their sum
    "components": Table((*_ROW, "value"), _ROW),
    # how many texts a published judge read, and how many were too long and lost their beginning
    "judge_reading": Table(("source", "n", "n_cut"), ("source",)),
    # which draw a selection rule keeps out of the first n
    "picks": Table(("prompt_id", "rule", "n", "draw"), ("prompt_id", "rule", "n")),
    # --- outcomes
    # the expected judge's value of a method at n, a prompt
    "outcomes": Table((*_OUTCOME, "value"), _OUTCOME),
    # the outcomes with prompts averaged out: what the command line prints
    "summary": Table(
        ("task", "method", "n", "judge", "mean", "low", "high", "n_prompts", "seed"),
        ("task", "method", "n", "judge", "seed"),
    ),
    "win_rates": Table((*_OUTCOME, "value", "opponent"), (*_OUTCOME, "opponent")),
    # the expected judge's value of chi-square pessimism at beta (standard deviations within prompts)
    "pessimism": Table((*_PESSIMISM, "value"), _PESSIMISM),
    # how a scorer ranks responses beside the judge, and how far its rewards spread
    "diagnostics": Table(
        (
            "task",
            "seed",
            "method",
            "judge",
            "rank_correlation",
            *_BOUNDS,
            "n_undefined",
            "pooled",
            "spread_within",
            "spread_between",
        ),
        ("task", "seed", "method", "judge"),
        ("rank_correlation", "low", "high", "pooled", "interval"),
    ),
    # how well a discriminator tells its own two sources apart
    "discrimination": Table(
        (
            "scorer",
            "positive",
            "negative",
            "accuracy",
            "accuracy_low",
            "accuracy_high",
            "auc",
            "auc_low",
            "auc_high",
            "interval",
            "n_prompts",
        ),
        ("scorer",),
    ),
    # --- covering and seeking
    # log-probabilities (nats) of responses under both laws, words that the stray law alone explains, points
    "densities": Table(
        (*_ROW, "text", "logprob", "value", "logprob_demo", "n_stray", "n_tokens"), _ROW, ("value",)
    ),
    # log-probability (nats) from which a response is in the demonstrators' highest-probability set, of all
    # demonstrations or of those without a stray word; mass_error: standard error of the share that it holds
    "demonstrator_thresholds": Table(
        ("prompt_id", "without_stray", "threshold", "n", "mass_error"), ("prompt_id", "without_stray")
    ),
    "coverage": Table((*_METRIC, "value"), _METRIC, ("value",)),
    # how many distinct good answers there are among k draws
    "distinct_good": Table(
        ("task", "seed", "policy", "source", "k", "prompt_id", "value"), ("source", "k", "prompt_id")
    ),
    # --- probes
    # texts with one thing edited
    "edits": Table((*_ROW, "edit", "text"), (*_ROW, "edit")),
    "edit_scores": Table((*_ROW, "edit", "scorer", "reward"), (*_ROW, "edit", "scorer")),
    "edit_effects": Table(
        ("task", "seed", "method", "edit", "prompt_id", "value"),
        ("task", "seed", "method", "edit", "prompt_id"),
        ("value",),
    ),
    # what a reward pays for each feature: standardised coefficients, and R2
    "regression": Table(
        ("task", "seed", "method", "feature", "value"), ("task", "seed", "method", "feature"), ("value",)
    ),
    "rank_correlations": Table(
        ("task", "seed", "method", "prompt_id", "metric", "value"),
        ("task", "seed", "method", "prompt_id", "metric"),
    ),
    "conditional_auc": Table(
        ("scorer", "positive", "negative", "within", "auc", *_BOUNDS, "seed"),
        ("scorer", "within"),
        ("auc", "low", "high"),
    ),
    # how a discriminator's logit compares with the exact log ratio
    "calibration": Table(
        ("task", "seed", "method", "metric", "value"), ("task", "seed", "method", "metric"), ("value",)
    ),
    "calibration_curve": Table(("method", "bin", "logit", "log_ratio", "n"), ("method", "bin")),
    # a seed's diagnostics: a column for each of evaluation.when.DIAGNOSTICS, NaN where undefined
    "when": Table(("task", "seed"), ("task", "seed")),
    # --- arms
    # KL (nats a response) of a policy's responses to its reference
    "kls": Table((*_ROW, "kl"), _ROW),
    "arms": Table((*_METRIC, "value"), _METRIC, ("value",)),
    # judge and proxy at the KL that a way has come to; `at`: n or an exponent; ess: the effective sample size
    "drift": Table(
        ("task", "seed", "method", "at", "prompt_id", "judge", "proxy", "kl", "ess"),
        ("task", "seed", "method", "at", "prompt_id"),
        ("ess", "judge", "proxy", "kl"),
    ),
    # points of a direct method's run: losses and log-probabilities (nats) of validation pairs, what the judge
    # says of samples (points; judge_1 and judge_2 by halves of the prompts), and shares of the samples with a
    # word that only the stray law explains, and with a sentence that nobody would write (off_grammar)
    "path": Table(
        (
            *("method", "step", "validation_loss", "preferred_logprob", "rejected_logprob"),
            *("judge", "judge_1", "judge_2", "stray_share", "off_grammar", "length", "n"),
        ),
        ("method", "step"),
    ),
    # what a run of adversarial imitation did to its own objective (nats a response)
    "objectives": Table(
        (
            *("method", "start_policy", "divergence", "start", "end", "change", "low", "high", "lowered"),
            *("start_stray", "end_stray", "n_prompts"),
        ),
        ("method",),
    ),
    # --- real systems (AlpacaEval); no text of theirs is in a table
    # answers of systems to prompts: verdict in [0, 1], log(1 + words); `row` is the answer's in its features
    "system_grid": Table(
        ("prompt_id", "system", "row", "value", "length"), ("prompt_id", "system"), ("value",)
    ),
    "system_prompts": Table(
        ("prompt_id", "dataset", "wins", "n_verdicts", "easy"), ("prompt_id",), ("wins",)
    ),
    # a model's log-probability (nats) of each answer as far as it was read, its tokens, whether it was cut
    "system_logprobs": Table(
        ("prompt_id", "system", "row", "logprob", "tokens", "cut"), ("prompt_id", "system")
    ),
    "system_report": Table(("system", "n_answers", "n_no_verdict", "wins"), ("system",), ("wins",)),
    # how well discriminators tell their own systems apart; rank correlations with verdicts; picks' verdicts
    "told_apart": Table(("discriminator", "high", "low", "auc", "auc_by_length"), ("discriminator",)),
    "agreement": Table(
        ("method", "means", "adjustment", "value", "low", "high", "interval"), holes=("value", "low", "high")
    ),
    "system_picks": Table(
        ("method", "less_method", "value", "low", "high", "interval"), holes=("value", "low", "high")
    ),
    # accuracy of a judge that was fitted to verdicts, and of rules, in strata of length
    "judge_strata": Table(("tried", "stratum", "rule", "accuracy", "low", "high", "n_pairs", "interval")),
    # PairRM's published picks among one policy's draws, and how scores agree with them
    "within_policy": Table(("method", "measure", "value", "low", "high", "n_prompts")),
    # --- over seeds
    # means over prompts that claims are judged on; n is 0 where it means nothing
    "values": Table(
        ("task", "setting", "seed", "table", "metric", "method", "n", "value"),
        ("task", "setting", "seed", "table", "metric", "method", "n"),
    ),
}

SPLITS = ("train", "validation", "test")


def checked(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Return `frame` with the columns of table `name`, in order; further columns are kept behind them.

    Raises SpecError for an unknown table, DataError for a missing column or value or a repeated key.
    """
    if name not in TABLES:
        raise unknown_name("table", name, TABLES)
    table = TABLES[name]
    lacking = [column for column in table.columns if column not in frame.columns]
    if lacking:
        raise DataError(f"table '{name}' lacks the columns {lacking}; it has {list(frame.columns)}")
    holes = [name for name in table.columns if name not in table.holes and frame[name].isna().any()]
    if holes:
        raise DataError(f"table '{name}' has missing values in {holes}")
    if table.key and frame.duplicated(list(table.key)).any():
        row = frame.loc[frame.duplicated(list(table.key)), list(table.key)].iloc[0].to_dict()
        raise DataError(f"table '{name}' repeats the key {row}")
    rest = [column for column in frame.columns if column not in table.columns]
    return frame[[*table.columns, *rest]].reset_index(drop=True)
