"""What a method costs: making it, and having it answer. Added up from what its steps spent (manifests).

*Making* covers every step that a method's answers need, each once, from pi_init on: pretraining and the
world's texts are common to all methods. What is drawn and scored for evaluation is no part of it; what is
drawn and scored to be learned from is, whole, as it was run here (two samples a demonstration, say, of which
a reward model reads one). *Answering* a prompt takes one draw of a policy, of both models for an
extrapolation, and n draws and n scores for Best-of-n: told from what draws and scores of test prompts spent.

- flops: estimated, 2 a parameter and token for a pass forwards and 6 for training (Context.spend);
  attention over the context, evaluations while training and what the judge of a controlled world takes are
  left out.
- tokens: as they go through a model, prompts included, once for each pass that reads them.
- seconds: wall time of steps on the machine that computed them, with other steps beside. They hold
  evaluations and loading too; of a step that was interrupted they are the last stretch. Answers are
  drawn and scored many at a time: one alone takes longer.
- demonstrations: that something the method needs was trained on (or stopped by), once however many steps
  read them. Who is only told by them how many samples to draw has used none.
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
Spent = Mapping[str, float]  # what a step's manifest says: seconds, and its cost


@dataclass(frozen=True)
class Method:
    """The steps behind a method: what has to be made, and what drew (and scored) its answers to test prompts.

    `draws` is how many draws an answer takes; each is scored where there is `scored`.
    """

    made: tuple[Step, ...]
    drawn: Step
    scored: Step | None = None
    draws: int = 1

    def closure(self) -> dict[str, Step]:
        """Return all steps that its cost is told from, by key."""
        last = (*self.made, self.drawn, *([] if self.scored is None else [self.scored]))
        return closure(last)


def methods(steps: Mapping[str, Step], *, kinds: Iterable[str], n: int) -> dict[str, Method]:
    """Return pi_SFT, Best-of-n by each kind of reward model, and every arm, of one plan."""
    sft, pool = steps["pi_sft"], steps["pool"]
    found = {"pi_sft": Method((sft,), pool)}
    for kind in kinds:
        found[kind] = Method((sft, steps[f"reward_{kind}"]), pool, steps[f"scores_{kind}"], n)
    for name, arm in ARMS.items():
        if f"{name} pool" in steps:  # an extrapolation has no weights: it is made when its start is
            found[name] = Method((steps[name if name in steps else arm.start],), steps[f"{name} pool"])
    return found


def cost(
    method: Method, *, common: Collection[str], texts: Collection[str], spent: Mapping[str, Spent]
) -> dict[str, float]:
    """Return a method's cost by metric.

    For tokens, flops and seconds `making_X`, `X_per_answer`, and X: making, with one answer to each of the
    `test_prompts`; beside them LABELS. The module says what each counts.

    Args:
        method: its steps.
        common: keys of the steps that no method is charged for: the model that all start from.
        texts: keys of those that write the world's texts, demonstrations among them; free too.
        spent: what each step spent, by key (`spendings`).
    """
    made = {key: step for key, step in closure(method.made).items() if key not in common and key not in texts}
    making = sum((_amounts(spent[key]) for key in made), np.zeros(len(AMOUNTS)))
    answer, prompts = _answer(method, spent)
    read = [text for step in made.values() for text in _learned_from(step, texts)]
    shown = closure(read)
    return {
        **_named("making_{}", making), **_named("{}_per_answer", answer), "test_prompts": prompts,
        **_named("{}", making + prompts * answer),
        "demonstrations": sum(spent[key].get("demonstrations", 0.0) for key in shown),
        "preference_labels": sum(spent[key].get("labels", 0.0) for key in made),
    }  # fmt: skip


def cost_values(study: Study) -> pd.DataFrame:
    """Return the cost of every method at each seed, as rows of table `values`: seed, metric, method, value.

    Best-of-n is at the ledger's n. Steps that the store lacks are computed.
    """
    rows = []
    for seed, plan in study.plans().items():
        steps = plan.steps
        found = methods(steps, kinds=study.spec.reward.kinds, n=load_ledger().n)
        needed = {key: step for method in found.values() for key, step in method.closure().items()}
        execute(needed.values(), study.store, jobs=study.jobs, threads=study.spec.threads, quiet=study.quiet)
        spent = spendings(needed, study.store)
        common, texts = (steps[name].closure().keys() for name in ("pi_init", "shown"))
        rows += [
            (seed, metric, name, value)
            for name, method in found.items()
            for metric, value in cost(method, common=common, texts=texts, spent=spent).items()
        ]
    table = pd.DataFrame(rows, columns=["seed", "metric", "method", "value"])
    return table.assign(table="cost", n=np.int64(0))


def cost_table(values: pd.DataFrame) -> pd.DataFrame:
    """Return costs over seeds, from table `values`: task, method, metric, mean, low, high, n_seeds."""
    return t_intervals(values[values["table"] == "cost"], ("task", "method", "metric"))


def spendings(steps: Mapping[str, Step], store: Store) -> dict[str, Spent]:
    """Return by key what each step spent, its seconds among it.

    Raises StoreError where the store lacks one of them.
    """
    found: dict[str, Spent] = {}
    for key, step in steps.items():
        manifest = store.manifest(step)
        if manifest is None:
            raise StoreError(
                f"the store at {store.root} lacks {step.name}/{key}, whose cost is asked for: compute it "
                "(Study.run), then ask again"
            )
        found[key] = {"seconds": float(manifest["seconds"]), **manifest["cost"]}
    return found


def break_even(*, making: float, answer: float, than_making: float, than_answer: float) -> float:
    """Return after how many answers two methods have cost the same; NaN where one is never the dearer.

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
    """Return what one answer takes (tokens, flops, seconds), and how many prompts were asked.

    A prompt is read once for all of its draws, which are then written, as decoding does it.
    """
    drawn = spent[method.drawn.key]
    written = (drawn["tokens"] - drawn["prompt_tokens"]) / drawn["responses"]
    tokens = drawn["prompt_tokens"] / drawn["prompts"] + method.draws * written
    seconds = method.draws * drawn["seconds"] / drawn["responses"]
    answer = np.array([tokens, tokens * drawn["flops"] / drawn["tokens"], seconds])
    if method.scored is not None:
        scored = spent[method.scored.key]
        answer = answer + method.draws * _amounts(scored) / scored["responses"]
    return answer, drawn["prompts"]


def _learned_from(step: Step, texts: Collection[str]) -> Iterator[Step]:
    """Yield the texts among a step's inputs that it learns from, and not only counts."""
    for name, read in step.inputs.items():
        counted = step.name in STEPS and name in STEPS[step.name].counts_only
        if read.key in texts and not counted:
            yield read
