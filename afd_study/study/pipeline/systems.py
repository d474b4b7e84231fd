"""The steps of the study of real systems: AlpacaEval's answers, a step for each triple, and a judge."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from afd_study.evaluation.systems.triples import STATES, WORDS, TripleSettings, load_triples
from afd_study.study.steps import step
from afd_study.study.workflow.step import Step
from afd_study.worlds.alpaca_eval import AlpacaEvalSpec, files
from afd_study.worlds.reading import digest

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
    """A triple on some prompts (a name of triples.yaml), by a reader, and whether it was explored."""

    reader: str
    triple: TripleSettings
    prompts: str
    explored: bool


class SystemSteps(NamedTuple):
    """Answers, a step for each triple by each reader on each choice of prompts, a judge for each reader.

    With a model there are its states of answers, and the penalties that were tried on them.
    """

    answers: Step
    triples: dict[Placed, Step]
    judges: dict[str, Step]
    states: Step | None = None
    penalties: Step | None = None

    def all(self) -> list[Step]:
        """Return every step that results are read from."""
        last = [each for each in (self.states, self.penalties) if each is not None]
        return [self.answers, *self.triples.values(), *self.judges.values(), *last]


def systems_of(folder: Path, model: str | None = None) -> SystemSteps:
    """Return the steps for a copy of AlpacaEval, with a model's states if it is named (`model_place`).

    Its files are read to tell whether they changed.
    """
    content = digest(files(AlpacaEvalSpec(folder=folder, systems=load_triples().systems)))
    return systems_by(content, folder, None if model is None else model_place(model))


def systems_by(content: str, folder: Path | None = None, model: ModelPlace | None = None) -> SystemSteps:
    """Return the steps by the digest of what they read, wherever it lies; with a model, its steps too."""
    triples = load_triples()
    settings = {"spec": {"systems": list(triples.systems)}, "digest": content}
    places = {"folder": "" if folder is None else str(folder.resolve())}
    answers = step("system_answers", settings, places=places)
    inputs, states, penalties = {WORDS: {"answers": answers}}, None, None
    if model is not None:
        own = {"spec": settings["spec"], "weights": model.weights, **READ}
        where = places | {"model": str(model.folder.resolve())}
        states = step("system_states", own, {"answers": answers}, places=where)
        inputs[STATES] = {"answers": answers, "states": states}
        penalties = _penalties(inputs[STATES])
    judges = {
        reader: step("system_judge", {"fitting": triples.judge, "l2": triples.readers[reader].judge_l2}, own)
        for reader, own in inputs.items()
    }
    read = {reader: {**own, "judge": judges[reader]} for reader, own in inputs.items()}
    each = {placed: _triple(placed, read[placed.reader]) for placed in placings(tuple(read))}
    return SystemSteps(answers, each, judges, states, penalties)


def placings(readers: Sequence[str] = (WORDS,)) -> Iterator[Placed]:
    """Yield every triple of triples.yaml by each reader on every choice of prompts."""
    triples = load_triples()
    for reader, prompts in product(readers, triples.prompts):
        yield from (Placed(reader, each, prompts, explored=True) for each in triples.exploration)
        yield from (Placed(reader, each, prompts, explored=False) for each in triples.judged)


def _triple(placed: Placed, inputs: Mapping[str, Step]) -> Step:
    triples = load_triples()
    settings = {
        "triple": placed.triple.triple._asdict(),
        "outside": triples.outside(placed.triple.triple),
        "datasets": triples.prompts[placed.prompts],
        "fitting": triples.fitting.model_copy(update={"l2": triples.readers[placed.reader].l2}),
        "resamples": triples.resamples,
        "n": triples.n,
        "seed": triples.fitting.seed,
    }
    return step("system_triple", settings, inputs)


def _penalties(inputs: Mapping[str, Step]) -> Step:
    triples = load_triples()
    settings = {
        "triples": [each.triple._asdict() for each in triples.exploration],
        "fitting": triples.fitting,
        "judge": triples.judge,
        "penalties": triples.penalties,
    }
    return step("system_penalties", settings, inputs)
