"""Covering and seeking: how a policy and the demonstrators differ, where both laws are exact.

Input is table `densities`, a row a response: prompt_id, source, draw, text, n_tokens, logprob (nats of the
whole response under the policy), logprob_demo (under the demonstrators' exact law), n_stray (words that only
the demonstrators' stray law explains), value (the judge's points). `source` is the policy's name for its own
samples, drawn at temperature 1 without truncation, and "demonstrations" for held-out demonstrations to the
same prompts. Table `demonstrator_thresholds` says where the demonstrators' highest-probability sets begin.

Coverage and precision mean what they mean in chapter 3 (theory.fits). Neither asks the judge.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.special import gammaln

from afd_study.errors import DataError, unknown_name
from afd_study.evaluation.statistics import require_columns

COLUMNS = (
    *("prompt_id", "source", "draw", "text", "n_tokens"),
    *("logprob", "logprob_demo", "n_stray", "value"),
)
DEMONSTRATIONS = "demonstrations"
FACTOR = 10.0  # a demonstration is covered where the policy gives it a tenth of its own probability
FIRST_DRAWS = 8  # self-similarity looks at pairs of these
ALL = "(all prompts)"  # where lengths are compared across prompts
LEAST = 20  # samples of one length from which a share of good answers is estimated
COUNTS = (1, 2, 4, 8, 16, 32, 64, 128)
SAME = (
    1e-9  # nats within which two log-probabilities are one: sums in another order differ in the last digits
)
METRICS: Mapping[str, tuple[str, str]] = {
    "held_out_nll": ("nats a response", "minus the policy's log-probability of held-out demonstrations"),
    "forward_kl": ("nats", "KL(demo || policy): what the policy misses of the demonstrations"),
    "reverse_kl": ("nats", "KL(policy || demo): what the policy says and demonstrators would not"),
    "reverse_kl_stray": ("nats", "the part of the reverse KL from samples with a stray word"),
    "stray_share": ("share", "samples with a word that only the stray law explains"),
    "coverage": ("share", "demonstrations to which the policy gives a tenth of their probability or more"),
    "coverage_without_stray": ("share", "coverage of demonstrations without a stray word"),
    "coverage_of_good": ("share", "coverage of good demonstrations"),
    "precision": ("share", "samples in the demonstrators' highest-probability 90 % set"),
    "precision_without_stray": (
        "share",
        "precision of samples without a stray word: the set is that of demonstrations without one",
    ),
    "good_share": ("share", "samples that are good answers by the judge"),
    "good_share_without_stray": ("share", "good share of samples without a stray word"),
    "demonstration_precision": ("share", "held-out demonstrations in that set: 0.9 but for sampling error"),
    "demonstration_good_share": ("share", "held-out demonstrations that are good answers by the judge"),
    "entropy": ("nats", "minus the mean log-probability of the policy's own samples"),
    "length": ("tokens", "of the policy's samples, end mark included"),
    "demonstration_length": ("tokens", "of held-out demonstrations, end mark included"),
    "precision_at_equal_length": ("share", "precision at the lengths of the SFT policy's samples"),
    "good_share_at_equal_length": ("share", "good share at the lengths of the SFT policy's samples"),
    "equal_length_share": ("share", "samples of the SFT policy at lengths that are compared"),
    "self_similarity": ("share", "word pairs that two samples to one prompt have in common"),
}
"""Metric -> its unit, and what it says."""
AT_EQUAL_LENGTH = ("precision", "good_share")  # what is compared at equal length


def coverage(
    densities: pd.DataFrame, *, thresholds: pd.DataFrame, task: str, seed: int, policy: str, good: float
) -> pd.DataFrame:
    """Measure one policy: columns task, seed, policy, metric, prompt_id, value, for the metrics of METRICS.

    A value is the mean over a prompt's rows; a prompt where it is undefined (coverage_of_good without a good
    demonstration) has no row. `good` is the judge's points from which an answer is good, `thresholds` the
    table `demonstrator_thresholds`.

    Raises:
        DataError: missing columns, no demonstrations, a log-probability that is not finite, a prompt without
            a threshold.
        SpecError: a policy that `source` does not hold.
    """
    samples, demos = (_with_shares(side, thresholds, good) for side in _sides(densities, policy))
    ratio, stray = samples["logprob"] - samples["logprob_demo"], samples["n_stray"] > 0
    covered = (demos["logprob"] >= demos["logprob_demo"] - np.log(FACTOR)).astype(float)
    parts = {
        "held_out_nll": (demos, -demos["logprob"]),
        "forward_kl": (demos, demos["logprob_demo"] - demos["logprob"]),
        "reverse_kl": (samples, ratio),
        "reverse_kl_stray": (samples, ratio * stray),
        "stray_share": (samples, stray.astype(float)),
        "coverage": (demos, covered),
        "coverage_without_stray": (demos, covered.where(demos["n_stray"] == 0)),
        "coverage_of_good": (demos, covered.where(demos["good_share"] == 1)),
        "precision": (samples, samples["precision"]),
        "precision_without_stray": (samples, samples["precision_without_stray"]),
        "good_share": (samples, samples["good_share"]),
        "good_share_without_stray": (samples, samples["good_share"].where(~stray)),
        "demonstration_precision": (demos, demos["precision"]),
        "demonstration_good_share": (demos, demos["good_share"]),
        "entropy": (samples, -samples["logprob"]),
        "length": (samples, samples["n_tokens"]),
        "demonstration_length": (demos, demos["n_tokens"]),
    }
    means = {name: values.groupby(rows["prompt_id"]).mean() for name, (rows, values) in parts.items()}
    first = samples[samples["draw"] < FIRST_DRAWS]
    means["self_similarity"] = first.groupby("prompt_id")["text"].apply(_similarity)
    frames = [
        value.dropna().rename("value").rename_axis("prompt_id").reset_index().assign(metric=name)
        for name, value in means.items()
    ]
    table = pd.concat(frames, ignore_index=True).assign(task=task, seed=seed, policy=policy)
    return table[["task", "seed", "policy", "metric", "prompt_id", "value"]]


def at_equal_length(
    densities: Mapping[str, pd.DataFrame],
    *,
    thresholds: pd.DataFrame,
    task: str,
    seed: int,
    reference: str,
    rival: str,
    good: float,
) -> pd.DataFrame:
    """Return each policy's precision and good share at the lengths of `reference`: prompt_id is ALL.

    Samples are counted length by length (tokens, all prompts together) and the shares averaged with the
    reference's own frequencies, over the lengths at which both have LEAST samples: a policy that is more
    precise only because it says less gains nothing by it. The reference's own value is over the lengths that
    it shares with `rival`, where that is among the policies: so that the two can be compared.

    Args:
        densities: policy -> its table `densities`.
        thresholds: table `demonstrator_thresholds`.
        task: written into the table.
        seed: written into the table.
        reference: whose lengths count.
        rival: with whom the reference is compared.
        good: the judge's points from which an answer is good.

    Returns task, seed, policy, metric, prompt_id, value: precision_at_equal_length,
    good_share_at_equal_length, and equal_length_share, the share of the reference's samples at the lengths
    that count. Raises as `coverage`.
    """
    shares = {
        name: _by_length(_with_shares(_sides(table, name)[0], thresholds, good))
        for name, table in densities.items()
    }
    own, rows = shares[reference], []
    for name in densities:
        other = shares[rival if name == reference and rival in shares else name]
        common = own.index[own["size"] >= LEAST].intersection(other.index[other["size"] >= LEAST])
        weights = own.loc[common, "size"]
        if len(common) == 0:
            continue  # nothing can be compared
        for metric in AT_EQUAL_LENGTH:
            mean = np.average(shares[name].loc[common, metric], weights=weights)
            rows.append((name, f"{metric}_at_equal_length", float(mean)))
        rows.append((name, "equal_length_share", float(weights.sum() / own["size"].sum())))
    table = pd.DataFrame(rows, columns=["policy", "metric", "value"])
    table = table.assign(task=task, seed=seed, prompt_id=ALL)
    return table[["task", "seed", "policy", "metric", "prompt_id", "value"]]


def _by_length(samples: pd.DataFrame) -> pd.DataFrame:
    """Return size, and the means of AT_EQUAL_LENGTH, by length."""
    groups = samples.groupby("n_tokens")
    return groups[list(AT_EQUAL_LENGTH)].mean().assign(size=groups.size())


def _with_shares(rows: pd.DataFrame, thresholds: pd.DataFrame, good: float) -> pd.DataFrame:
    """Return responses with what shares are means of: precision, precision_without_stray, good_share.

    Each is 1 or 0; precision_without_stray is NaN where a word is a stray one, and where nothing is known of
    demonstrations without one.
    """
    require_columns(thresholds, ("prompt_id", "without_stray", "threshold"))
    clean = thresholds["without_stray"].astype(bool)
    of_all, of_clean = (
        rows["prompt_id"].map(part.set_index("prompt_id")["threshold"])
        for part in (thresholds[~clean], thresholds[clean])
    )
    if of_all.isna().any():
        raise DataError(
            f"table demonstrator_thresholds lacks the prompt '{rows.loc[of_all.isna(), 'prompt_id'].iloc[0]}'"
        )
    within, within_clean = (
        (rows["logprob_demo"] >= least - SAME).astype(float) for least in (of_all, of_clean)
    )
    return rows.assign(
        precision=within,
        precision_without_stray=within_clean.where((rows["n_stray"] == 0) & of_clean.notna()),
        good_share=(rows["value"] >= good).astype(float),
    )


def distinct_good(
    densities: pd.DataFrame, *, task: str, seed: int, policy: str, good: float, counts: Sequence[int] = COUNTS
) -> pd.DataFrame:
    """Return the expected number of distinct good answers among k draws, exact over all subsets of a pool.

    Columns task, seed, policy, source, k, prompt_id, value: a good text with c of N draws is among k of them
    with probability 1 - C(N - c, k) / C(N, k). For the policy's samples and for the demonstrations, at every
    k of `counts` that a prompt has draws for.
    """
    rows = []
    for side in _sides(densities, policy):
        for (source, prompt), part in side.groupby(["source", "prompt_id"], sort=True):
            size, repeats = len(part), part.loc[part["value"] >= good, "text"].value_counts().to_numpy()
            for k in (count for count in counts if count <= size):
                missed = np.exp(_log_choose(size - repeats, k) - _log_choose(np.array(size), k))
                rows.append((task, seed, policy, source, k, prompt, float((1 - missed).sum())))
    return pd.DataFrame(rows, columns=["task", "seed", "policy", "source", "k", "prompt_id", "value"])


def _sides(densities: pd.DataFrame, policy: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the policy's samples and the demonstrations, checked."""
    require_columns(densities, COLUMNS)
    sources = set(densities["source"].unique())
    if policy not in sources:
        raise unknown_name("source", policy, sources)
    if DEMONSTRATIONS not in sources:
        raise DataError(
            "table densities holds no demonstrations, so there is nothing that the policy should cover"
        )
    rows = densities[densities["source"].isin([policy, DEMONSTRATIONS])]
    broken = rows[~np.isfinite(rows[["logprob", "logprob_demo", "value"]].to_numpy(dtype=float)).all(axis=1)]
    if len(broken):
        row = broken.iloc[0]
        raise DataError(
            f"draw {row['draw']} of prompt '{row['prompt_id']}' ({row['source']}) has log-probabilities "
            f"{row['logprob']} and {row['logprob_demo']} and value {row['value']}, which must be finite, and "
            f"{len(broken) - 1} more like it: both laws must give every response some probability"
        )
    return rows[rows["source"] == policy], rows[rows["source"] == DEMONSTRATIONS]


def _similarity(texts: pd.Series) -> float:
    """Mean Jaccard index of the texts' sets of adjacent word pairs; NaN for fewer than two texts.

    A text of a single word, or none, counts as its words.
    """
    sets: list[set[object]] = []
    for text in texts:
        words = str(text).split()
        sets.append(set(zip(words, words[1:], strict=False)) or set(words))
    overlaps = [len(a & b) / len(a | b) if a | b else 1.0 for a, b in combinations(sets, 2)]
    return float(np.mean(overlaps)) if overlaps else float("nan")


def _log_choose(n: np.ndarray, k: int) -> np.ndarray:
    """Log of n over k; minus infinity where k exceeds n."""
    n = np.asarray(n, dtype=float)
    fits = n >= k
    m = np.where(fits, n, k)
    return np.where(fits, gammaln(m + 1) - gammaln(k + 1) - gammaln(m - k + 1), -np.inf)
