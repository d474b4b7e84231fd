"""What a method costs: making it, and having it answer. Added up from what its steps spent (manifests).

*Making* covers every step that a method's answers need, each once, from pi_init on. Pretraining and the
world's texts are common to all methods and left out, and so is what is drawn and scored for evaluation.
Samples and scores to learn from count in full, as they were run here: two samples a demonstration, say, even
where a reward model reads only one. *Answering* a prompt takes one draw of a policy, one of both models for
an extrapolation, and n draws with n scores for Best-of-n. Its cost comes from the draws and scores of test
prompts.

- flops: an estimate, 2 for each parameter and token of a forward pass and 6 in training (Context.spend).
  Attention over the context, evaluations during training and the judge of a controlled world are left out.
- tokens: all that go through a model, prompts included, once for each pass that reads them.
- seconds: wall time of the steps on the machine that computed them, while other steps ran beside them.
  Evaluations and loading are in it; of an interrupted step only the last stretch is. Answers are drawn and
  scored many at a time, so that a single one takes longer.
- demonstrations: those that something the method needs was trained on or stopped by, once however many steps
  read them. A step that only counts them, to draw as many samples, uses none.
- preference_labels: pairs that somebody had to compare.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from afd_study.errors import StoreError
from afd_study.evaluation.claims import load_ledger
from afd_study.evaluation.statistics import t_intervals
from afd_study.methods.arms import ARMS
from afd_study.study.steps import STEPS
from afd_study.study.study import Study
from afd_study.study.workflow.executor import execute
from afd_study.study.workflow.step import Step, closure
from afd_study.study.workflow.store import Store

AMOUNTS = ("tokens", "flops", "seconds")
LABELS = ("demonstrations", "preference_labels")
Spent = Mapping[str, float]  # from a step's manifest: its seconds and its cost


@dataclass(frozen=True)
class Method:
    """The steps behind a method: those that make it, and those that drew and scored its test answers.

    `draws` is the number of draws that an answer takes. Each is scored, where the method scores its answers.
    """

    makes: tuple[Step, ...]
    draws_answers: Step
    scores_answers: Step | None = None
    draws: int = 1

    def closure(self) -> dict[str, Step]:
        """Return all steps that its cost is computed from, by key."""
        return closure([*self.makes, self.draws_answers, *filter(None, [self.scores_answers])])


def methods(steps: Mapping[str, Step], *, kinds: Iterable[str], n: int) -> dict[str, Method]:
    """Return pi_SFT, Best-of-n by each kind of reward model, and every arm, of one plan."""
    sft, pool = steps["pi_sft"], steps["pool"]
    by_name = {"pi_sft": Method((sft,), pool)}
    for kind in kinds:
        by_name[kind] = Method((sft, steps[f"reward_{kind}"]), pool, steps[f"scores_{kind}"], n)
    for name, arm in ARMS.items():
        if f"{name} pool" in steps:  # an extrapolation has no weights: it is made when its start is
            by_name[name] = Method((steps[name if name in steps else arm.start],), steps[f"{name} pool"])
    return by_name


def cost(
    method: Method, *, common: Collection[str], texts: Collection[str], spent: Mapping[str, Spent]
) -> dict[str, float]:
    """Return a method's cost by metric, in the units of this module's docstring.

    For each X of tokens, flops and seconds: `making_X`, `X_per_answer`, and X, which is making and one answer
    to each of the `test_prompts`. Beside them the number of test prompts, and LABELS.

    Args:
        method: the steps of the method.
        common: keys of the steps that no method is charged for: the model that all start from.
        texts: keys of the steps that write the world's texts, demonstrations among them. They are free too.
        spent: what each step spent, by key (`spendings`).
    """
    free = {*common, *texts}
    steps = {key: step for key, step in closure(method.makes).items() if key not in free}
    making = sum((_amounts(spent[key]) for key in steps), np.zeros(len(AMOUNTS)))
    answer, prompts = _answer(method, spent)
    read = [text for step in steps.values() for text in _learned_from(step, texts)]
    labels = {
        "demonstrations": sum(spent[key].get("demonstrations", 0.0) for key in closure(read)),
        "preference_labels": sum(spent[key].get("labels", 0.0) for key in steps),
    }
    parts = {**_named("making_{}", making), **_named("{}_per_answer", answer), "test_prompts": prompts}
    return {**parts, **_named("{}", making + prompts * answer), **labels}


def cost_values(study: Study) -> pd.DataFrame:
    """Return the cost of every method at each seed, as rows of table `values`: seed, metric, method, value.

    Best-of-n is at the ledger's n. Steps that the store lacks are computed.
    """
    rows = []
    for seed, plan in study.plans().items():
        steps = plan.steps
        every = methods(steps, kinds=study.spec.reward.kinds, n=load_ledger().n)
        needed = {key: step for method in every.values() for key, step in method.closure().items()}
        execute(needed.values(), study.store, jobs=study.jobs, threads=study.spec.threads, quiet=study.quiet)
        spent = spendings(needed, study.store)
        common, texts = (steps[name].closure().keys() for name in ("pi_init", "shown"))
        rows += [
            (seed, metric, name, value)
            for name, method in every.items()
            for metric, value in cost(method, common=common, texts=texts, spent=spent).items()
        ]
    table = pd.DataFrame(rows, columns=["seed", "metric", "method", "value"])
    return table.assign(table="cost", n=np.int64(0))


def cost_table(values: pd.DataFrame) -> pd.DataFrame:
    """Return costs over seeds, from table `values`: task, method, metric, mean, low, high, n_seeds."""
    return t_intervals(values[values["table"] == "cost"], ("task", "method", "metric"))


def spendings(steps: Mapping[str, Step], store: Store) -> dict[str, Spent]:
    """Return what each step spent, its seconds included, by key.

    Raises StoreError where the store lacks one of them.
    """
    spent: dict[str, Spent] = {}
    for key, step in steps.items():
        manifest = store.manifest(step)
        if manifest is None:
            raise StoreError(
                f"the store at {store.root} lacks {step.name}/{key}, whose cost is needed: compute it "
                "(Study.run), then ask again"
            )
        spent[key] = {"seconds": float(manifest["seconds"]), **manifest["cost"]}
    return spent


def break_even(*, making: float, answer: float, than_making: float, than_answer: float) -> float:
    """Return after how many answers two methods have cost the same; NaN where one always costs less.

    >>> break_even(making=100.0, answer=1.0, than_making=40.0, than_answer=4.0)
    20.0
    """
    more, saved = making - than_making, than_answer - answer
    return more / saved if more * saved > 0 else float("nan")


def _amounts(spent: Spent) -> np.ndarray:
    return np.array([spent.get(name, 0.0) for name in AMOUNTS])


def _named(pattern: str, amounts: np.ndarray) -> dict[str, float]:
    return {pattern.format(name): float(each) for name, each in zip(AMOUNTS, amounts, strict=True)}


def _answer(method: Method, spent: Mapping[str, Spent]) -> tuple[np.ndarray, float]:
    """Return what one answer takes (tokens, flops, seconds), and the number of test prompts.

    A prompt is read once for all of its draws, as decoding does it; each draw is then written.
    """
    draws = spent[method.draws_answers.key]
    response = (draws["tokens"] - draws["prompt_tokens"]) / draws["responses"]
    tokens = draws["prompt_tokens"] / draws["prompts"] + method.draws * response
    seconds = method.draws * draws["seconds"] / draws["responses"]
    answer = np.array([tokens, tokens * draws["flops"] / draws["tokens"], seconds])
    if method.scores_answers is not None:
        scores = spent[method.scores_answers.key]
        answer = answer + method.draws * _amounts(scores) / scores["responses"]
    return answer, draws["prompts"]


def _learned_from(step: Step, texts: Collection[str]) -> Iterator[Step]:
    """Yield the texts that a step learns from, leaving out those that it only counts."""
    for name, read in step.inputs.items():
        counted = step.name in STEPS and name in STEPS[step.name].counts_only
        if read.key in texts and not counted:
            yield read
