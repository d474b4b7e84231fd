"""The steps of the study of real systems: AlpacaEval's answers, a step for each triple, and a judge."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from afd_study.evaluation.systems.triples import TripleSettings, load_triples
from afd_study.study.steps import step
from afd_study.study.workflow.step import Step
from afd_study.worlds.alpaca_eval import AlpacaEvalSpec, files
from afd_study.worlds.reading import digest

WORDS = "words"  # a reader of texts
READ: Mapping[str, Any] = {"layer": 20, "dtype": "bfloat16", "max_prompt_tokens": 512, "max_new_tokens": 256}
"""How a pretrained model reads answers: the layer whose states are kept, and how many tokens of each side."""


class ModelPlace(NamedTuple):
    """A pretrained model: the digest of its weights, and the folder that it lies in."""

    weights: str
    folder: Path


def model_place(name: str) -> ModelPlace:
    """Return where a model lies that was fetched (smollm2) or has a folder, with the digest of its files.

    Raises HubError or DataError for a model that is not there, as models.pretrained_folders does.
    """
    from afd_study.models.model_files import POLICY  # waits for transformers
    from afd_study.models.pretrained_folders import checked_place

    folder = Path(checked_place(POLICY, name, download=False)[0])
    kept = [path for path in sorted(folder.iterdir()) if path.suffix in (".safetensors", ".json", ".jinja")]
    return ModelPlace(digest(kept), folder)


class Placed(NamedTuple):
    """A triple on some prompts (a name of triples.yaml), and whether it was looked at before its rules."""

    triple: TripleSettings
    prompts: str
    explored: bool


class SystemSteps(NamedTuple):
    """Answers, a step for each triple on each choice of prompts, a judge, and a model's states of answers."""

    answers: Step
    triples: dict[Placed, Step]
    judge: Step
    states: Step | None = None

    def all(self) -> list[Step]:
        """Return every step that results are read from."""
        return [self.answers, *self.triples.values(), self.judge, *([self.states] if self.states else [])]


def systems_of(folder: Path) -> SystemSteps:
    """Return the steps for a copy of AlpacaEval. Its files are read to tell whether they changed."""
    return systems_by(digest(files(AlpacaEvalSpec(folder=folder, systems=load_triples().systems))), folder)


def systems_by(content: str, folder: Path | None = None, model: ModelPlace | None = None) -> SystemSteps:
    """Return the steps by the digest of what they read, wherever it lies; with a model, its states too."""
    triples = load_triples()
    settings = {"spec": {"systems": list(triples.systems)}, "digest": content}
    places = {"folder": "" if folder is None else str(folder.resolve())}
    answers = step("system_answers", settings, places=places)
    each = {placed: _triple(placed, answers) for placed in placings()}
    judge = step("system_judge", {"fitting": triples.judge}, {"answers": answers})
    states = None
    if model is not None:
        own = {"spec": settings["spec"], "weights": model.weights, **READ}
        where = places | {"model": str(model.folder.resolve())}
        states = step("system_states", own, {"answers": answers}, places=where)
    return SystemSteps(answers, each, judge, states)


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
