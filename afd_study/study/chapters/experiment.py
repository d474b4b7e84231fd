"""What chapters 4, 5 and 9 show: studies in several settings, as tables over seeds with intervals.

Each function takes studies by the name of their setting (`open_settings`) and never merges settings.
Generators have fixed seeds, so that the same studies give the same intervals.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from afd_study.evaluation.diagnostics import rank_correlations
from afd_study.evaluation.paper_orderings import PAPER_ORDERINGS, Comparison, orderings
from afd_study.evaluation.separability import separability, top_words
from afd_study.evaluation.statistics import interval
from afd_study.methods.best_of_n import JUDGE, WITHOUT_LENGTH, picks
from afd_study.study.chapters.replicates import averaged, first_of_each
from afd_study.study.study import Study, compare
from afd_study.worlds.controlled import open_world

Studies = Mapping[str, Study]  # setting -> its study
Maker = Callable[[Studies], pd.DataFrame]
CURVE = ("setting", "task", "method", "n", "judge")
COMPARED_AT = 16  # n at which picks are compared, where the pool allows it
SPENT = ("seconds", "tokens", "flops", "response_tokens", "labels")
SHOWN_RULES = ("init_sft", "sft_demo", "preferences", "longest")


def with_intervals(table: pd.DataFrame, by: tuple[str, ...], value: str = "value") -> pd.DataFrame:
    """Return evaluation.statistics.interval of a column, from a generator of the same seed each time."""
    return interval(table, generator=np.random.default_rng(0), by=by, value=value)


def settings(studies: Studies) -> pd.DataFrame:
    """Return a row a setting: n_seeds, prompts of each split and demonstrations a seed, n_max, kept."""
    rows = []
    for label, study in studies.items():
        prompts, count, n_max = study.table("prompts"), len(study.seeds), study.spec.sampling.n_max
        splits = {f"{name}_prompts": int(n) // count for name, n in prompts["split"].value_counts().items()}
        demonstrations = len(study.table("demonstrations")) // count
        sizes = {"demonstrations": demonstrations, "n_max": n_max, "kept": min(COMPARED_AT, n_max)}
        rows.append({"setting": label, "n_seeds": count, **splits, **sizes})
    return pd.DataFrame(rows)


def shown_demonstrations(studies: Studies, limit: int = 6) -> pd.DataFrame:
    """Return a few demonstrations as reward models read them: prompt, text. Untrusted text."""
    first = next(iter(studies.values()))
    prompts = first.table("prompts").rename(columns={"text": "prompt"})
    rows = first.table("demonstrations").merge(prompts, on=["seed", "prompt_id"])
    return rows[["prompt", "text"]].head(limit)


def component_notes(studies: Studies) -> pd.DataFrame:
    """Return how to read each component of the judge's score: component, meaning."""
    world = next(iter(studies.values())).spec.world
    notes = open_world(world.model_dump(mode="json")).components
    return pd.DataFrame(list(notes.items()), columns=["component", "meaning"])


def evaluations(studies: Studies) -> pd.DataFrame:
    """Return how training went in the last setting: model, seed, step, training and validation loss.

    Of several reward models of a kind the first is shown.
    """
    label, study = list(studies.items())[-1]
    return first_of_each(study.evaluations(), column="model").assign(setting=label)


def coverage(studies: Studies) -> pd.DataFrame:
    """Return every metric of covering and seeking for both policies, with 95 % intervals over seeds.

    Columns policy, metric, mean, low, high, interval, n_seeds, n_prompts, setting. Settings that differ in
    marks alone have the same policies: the first setting is shown.
    """
    label, study = next(iter(studies.items()))
    return with_intervals(study.table("coverage"), ("policy", "metric")).assign(setting=label)


def distinct_good(studies: Studies) -> pd.DataFrame:
    """Return how many distinct good answers k draws hold: source, k, mean with its interval."""
    label, study = next(iter(studies.items()))
    return with_intervals(study.table("distinct_good"), ("source", "k")).assign(setting=label)


def curves(studies: Studies) -> pd.DataFrame:
    """Return the judge's mean of every method at every n, with 95 % intervals: t over seeds, if several.

    Reward models of one kind are averaged. What rules are worth without length is in `probes.remedies`.
    """
    return with_intervals(averaged(_whole(compare(studies, "outcomes"))), CURVE)


def verdicts(studies: Studies, comparisons: Sequence[Comparison] = PAPER_ORDERINGS) -> pd.DataFrame:
    """Judge the paper's orderings in each setting (evaluation.paper_orderings), at n = 16 or at n_max.

    Comparisons with a reward model that the studies did not train are left out.
    """
    outcomes, n = averaged(compare(studies, "outcomes")), _kept(studies)
    methods = set(outcomes["method"])
    chosen = [each for each in comparisons if {each.method, each.than} <= methods]
    chosen = [replace(each, n=n) for each in chosen]
    return orderings(outcomes, chosen, generator=np.random.default_rng(0), by=("setting", "task", "judge"))


def _whole(table: pd.DataFrame) -> pd.DataFrame:
    return table[~table["method"].str.endswith(WITHOUT_LENGTH)]


def _kept(studies: Studies) -> int:
    return min(COMPARED_AT, *(study.spec.sampling.n_max for study in studies.values()))


def win_rates(studies: Studies) -> pd.DataFrame:
    """Return how often the judge prefers each method's best of n (16) to an opponent's draw."""
    rates = averaged(_whole(compare(studies, "win_rates")))
    return with_intervals(rates[rates["n"] == _kept(studies)], ("setting", "opponent", "method", "n"))


def scorers(studies: Studies) -> pd.DataFrame:
    """Return what each scorer knows: rank correlation with the judge, and accuracy at its own training task.

    Accuracy (x) is NaN for scorers that were not trained; x_low ... y_high are the bounds of 95 % intervals.
    """
    return pd.concat(
        [_scorers(study).assign(setting=label) for label, study in studies.items()], ignore_index=True
    )


def _scorers(study: Study) -> pd.DataFrame:
    scores = study.table("scores")
    each = [
        rank_correlations(_of_seed(scores, seed), task=study.task, seed=seed, judge=JUDGE)
        for seed in study.seeds
    ]
    defined = averaged(pd.concat(each).dropna(subset="value"))  # a scorer that ties every draw ranks nothing
    ranked = with_intervals(defined, ("task", "method", "judge"))
    ranked = ranked.rename(columns={"mean": "rank_correlation", "low": "y_low", "high": "y_high"})
    trained = study.reward_models().rename(columns={"scorer": "method"}).assign(prompt_id="all")
    names = ["method", "seed", "prompt_id", "accuracy"]
    accuracy = with_intervals(averaged(trained[names], ["accuracy"]), ("method",), "accuracy")
    accuracy = accuracy.rename(columns={"mean": "accuracy", "low": "x_low", "high": "x_high"})
    return ranked.merge(accuracy[["method", "accuracy", "x_low", "x_high"]], on="method", how="left")


def components(studies: Studies) -> pd.DataFrame:
    """Return the judge's components and their sum for each source, seeds averaged, with intervals."""
    label, study = next(iter(studies.items()))
    parts = study.table("components")
    names = [name for name in parts.columns if name not in ("prompt_id", "source", "draw", "seed")]
    long = parts.melt(["seed", "prompt_id", "source"], names, "component", "points")
    keys = ["seed", "prompt_id", "source", "component"]
    means = long.groupby(keys, sort=False)["points"].mean().reset_index()
    table = with_intervals(means, ("source", "component"), "points")
    table = table.rename(columns={"source": "method"}).assign(setting=label)
    order = {name: place for place, name in enumerate(names)}
    in_order = table.sort_values(["method", "component"], key=lambda column: column.map(order).fillna(0))
    return in_order.reset_index(drop=True)


def texts_apart(study: Study, pairs: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """Return the AUC with which simple readers tell pairs of sources apart on test prompts, by features."""
    texts = sources(study)
    tables = [
        separability(texts, positive=high, negative=low, generator=np.random.default_rng(0))
        for high, low in pairs
    ]
    return pd.concat(tables, ignore_index=True)


def telling_words(study: Study, positive: str, negative: str, k: int = 8) -> pd.DataFrame:
    """Return the words that tell two sources apart best: untrusted text, to be shown by tables.show_texts."""
    return top_words(sources(study), positive=positive, negative=negative, k=k)


def sources(study: Study) -> pd.DataFrame:
    """Return a text a test prompt of each source: prompt_id, source, draw, text."""
    demonstrations = study.table("held_out_demonstrations").assign(source="demonstrations")
    frames = [study.table("init_samples"), study.table("samples"), demonstrations]
    first = [frame[frame["draw"] == 0][["seed", "prompt_id", "source", "draw", "text"]] for frame in frames]
    return pd.concat(first, ignore_index=True)


def picked(studies: Studies, rules: Sequence[str] = SHOWN_RULES, prompts: int = 2) -> pd.DataFrame:
    """Return what rules keep of the first n samples in the last setting: prompt, rule, text, judge.

    The prompts are the first test prompts by id of the first seed. Untrusted text: tables.show_texts.
    """
    study = list(studies.values())[-1]
    seed, n = study.seeds[0], _kept(studies)
    tables = ("scores", "samples", "prompts")
    scores, samples, prompt_texts = (_of_seed(study.table(name), seed) for name in tables)
    scores = scores[(scores["source"] == "pi_sft") & scores["scorer"].isin([*rules, JUDGE])]
    chosen = picks(scores, n).replace({"rule": {JUDGE: "oracle"}})
    judge = scores[scores["scorer"] == JUDGE].rename(columns={"reward": JUDGE})[["prompt_id", "draw", JUDGE]]
    prompt_texts = prompt_texts[["prompt_id", "text"]].rename(columns={"text": "prompt"})
    first = sorted(set(chosen["prompt_id"]))[:prompts]
    rows = chosen[chosen["prompt_id"].isin(first)]
    rows = rows.merge(samples[["prompt_id", "draw", "text"]], on=["prompt_id", "draw"])
    rows = rows.merge(judge, on=["prompt_id", "draw"]).merge(prompt_texts, on="prompt_id")
    return rows[["prompt", "rule", "text", JUDGE]]


def _of_seed(frame: pd.DataFrame, seed: int) -> pd.DataFrame:
    return frame[frame["seed"] == seed]


def cost(studies: Studies) -> pd.DataFrame:
    """Return the mean cost a seed of each kind of step: seconds, tokens, FLOPs, labels."""
    frames = [study.cost() for study in studies.values()]
    every = pd.concat(frames, ignore_index=True).drop_duplicates(["step", "seed", "seconds"])
    spent = every.reindex(columns=["step", *SPENT], fill_value=0.0).groupby("step").mean()
    return spent.sort_values("seconds", ascending=False).reset_index()


TABLES: Mapping[str, Maker] = {
    "settings": settings,
    "shown": shown_demonstrations,
    "components": components,
    "component_notes": component_notes,
    "evaluations": evaluations,
    "scorers": scorers,
    "curves": curves,
    "win_rates": win_rates,
    "verdicts": verdicts,
    "picked": picked,
    "coverage": coverage,
    "distinct_good": distinct_good,
    "cost": cost,
}
"""What chapters 4 and 5 show of one task, by the names that the notebook uses."""
