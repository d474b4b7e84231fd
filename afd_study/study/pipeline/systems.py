"""The steps of the study of real systems: AlpacaEval's answers, a step for each triple, and a judge."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from afd_study.evaluation.systems.triples import TripleSettings, load_triples
from afd_study.study.steps import step
from afd_study.study.workflow.step import Step
from afd_study.worlds.alpaca_eval import AlpacaEvalSpec, files
from afd_study.worlds.reading import digest

WORDS = "words"  # a reader of texts


class Placed(NamedTuple):
    """A triple on some prompts (a name of triples.yaml), and whether it was looked at before its rules."""

    triple: TripleSettings
    prompts: str
    explored: bool


class SystemSteps(NamedTuple):
    """Answers, a step for each triple on each choice of prompts, and the judge."""

    answers: Step
    triples: dict[Placed, Step]
    judge: Step

    def all(self) -> list[Step]:
        """Return every step that results are read from."""
        return [self.answers, *self.triples.values(), self.judge]


def systems_of(folder: Path) -> SystemSteps:
    """Return the steps for a copy of AlpacaEval. Its files are read to tell whether they changed."""
    return systems_by(digest(files(AlpacaEvalSpec(folder=folder, systems=load_triples().systems))), folder)


def systems_by(content: str, folder: Path | None = None) -> SystemSteps:
    """Return the steps by the digest of what they read, wherever it lies."""
    triples = load_triples()
    settings = {"spec": {"systems": list(triples.systems)}, "digest": content}
    places = {"folder": "" if folder is None else str(folder.resolve())}
    answers = step("system_answers", settings, places=places)
    each = {placed: _triple(placed, answers) for placed in placings()}
    judge = step("system_judge", {"fitting": triples.judge}, {"answers": answers})
    return SystemSteps(answers, each, judge)


def placings() -> Iterator[Placed]:
    """Yield every triple of triples.yaml on every choice of prompts."""
    triples = load_triples()
    for prompts in triples.prompts:
        yield from (Placed(each, prompts, explored=True) for each in triples.exploration)
        yield from (Placed(each, prompts, explored=False) for each in triples.judged)


def _triple(placed: Placed, answers: Step) -> Step:
    triples = load_triples()
    settings = {
        "triple": placed.triple.triple._asdict(),
        "outside": triples.outside(placed.triple.triple),
        "datasets": triples.prompts[placed.prompts],
        "fitting": triples.fitting,
        "resamples": triples.resamples,
        "n": triples.n,
        "seed": triples.fitting.seed,
    }
    return step("system_triple", settings, {"answers": answers})
