"""Steps of the judge that reads words alone: its fit to people's pairs of its own part, and its scores."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from safetensors.numpy import load_file, save_file

from afd_study.errors import DataError
from afd_study.evaluation.systems.features import bag, gram_counts
from afd_study.evaluation.systems.judges import Judge, Pairs
from afd_study.evaluation.text_features import LENGTHS
from afd_study.evaluation.words_judge import fit_words, words_scores as scores_without_length
from afd_study.study.steps.encoding import ROW, TRAINED_ON, CommonInputs, response_ids, texts_of
from afd_study.study.steps.pairs import openings, read_texts
from afd_study.study.steps.preferences import write_judge_accuracy
from afd_study.study.steps.scoring import refuse_infinite
from afd_study.study.workflow.context import Context
from afd_study.study.workflow.tables import read_table, write_table

WEIGHTS = "words.safetensors"


class PeoplesPairs(NamedTuple):
    """A data set's K pairs, their texts as far as they are read, whether they are the judge's, and splits."""

    labels: pd.DataFrame
    texts: list[str]
    pairs: Pairs
    own: np.ndarray
    split: np.ndarray

    @property
    def to_fit(self) -> Pairs:
        """The pairs that the judge is fitted to."""
        return self.pairs.take(self.own & np.isin(self.split, TRAINED_ON))


def words_judge(out: Path, context: Context, *, common: CommonInputs, corpus: Path) -> None:
    """Fit a judge that reads words to its own part of people's pairs, and try it on the other part.

    Tables `reward_model` (the penalty, and how the judge fares on its own pairs while they are held out) and
    `judge_accuracy`.
    """
    people = _people(common, corpus)
    features, lengths = bag(gram_counts(people.texts)), people.pairs.lengths
    fitted = fit_words(people.to_fit, features)
    judge, n = fitted.judge, len(fitted.gaps)
    save_file({"weights": judge.weights, "slope": np.array([judge.slope])}, out / WEIGHTS)
    right = (1 + np.sign(fitted.gaps)) / 2
    row = {"scorer": "words", "loss": "bradley_terry", "n_pairs": n, "n_validation": n}
    row |= {"accuracy": right.mean(), "validation_loss": fitted.losses[fitted.l2], "l2": fitted.l2}
    write_table(out, "reward_model", pd.DataFrame([row]))
    tried = people.pairs.take(~people.own)
    high, low = (scores_without_length(judge, features, lengths, side) for side in tried[:2])
    tokens = [len(ids) for ids in response_ids(people.texts, common.reader_tokenizer, common.sampling)]
    both = np.array(tokens).reshape(2, -1).T[~people.own]
    write_judge_accuracy(out, high, low, lengths=both, n_training=n)


def words_scores(
    out: Path,
    context: Context,
    *,
    common: CommonInputs,
    scorer: str,
    judge: Path,
    corpus: Path,
    **texts: Path,
) -> None:
    """Score samples and demonstrations by a judge that reads words: table `scores`.

    Its features are made anew of the texts that it was fitted to, which say what words count. Raises
    DataError where these are not the judge's.
    """
    stored, people = load_file(judge / WEIGHTS), _people(common, corpus)
    known = [people.texts[row] for row in np.unique(np.concatenate(people.to_fit[:2]))]
    tables = [texts_of(folder, source).assign(source=source) for source, folder in texts.items()]
    table = pd.concat([each[[*ROW, "text"]] for each in tables], ignore_index=True)
    every = [*known, *read_texts(table["text"].tolist(), common)]
    features, lengths = bag(gram_counts(every)), np.array([LENGTHS["words"](text) for text in every])
    numbers = np.arange(len(every))
    fitted = Judge(stored["weights"], numbers[: len(known)], float(stored["slope"][0]))
    width = features(fit_on=fitted.fit_on, of=[numbers[:1]])[0].shape[1]
    if width != len(fitted.weights):
        raise DataError(f"{judge} has weights of {len(fitted.weights)} words, and its texts have {width}")
    values = scores_without_length(fitted, features, lengths, numbers[len(known) :])
    refuse_infinite(values, table, scorer, context)
    context.cost["responses"] = len(table)
    write_table(out, "scores", table[ROW].assign(scorer=scorer, reward=values))


def _people(common: CommonInputs, corpus: Path) -> PeoplesPairs:
    """Return a data set's pairs: the preferred answers' texts stand first, then the rejected ones'."""
    labels = read_table(corpus, "preferences")
    about = common.prompts_by_id.loc[labels["prompt_id"]]
    texts = read_texts([*labels["preferred"], *labels["rejected"]], common)
    number = np.arange(len(labels))
    pairs = Pairs(
        preferred=number,
        rejected=number + len(labels),
        groups=openings(common.prompt_table, pd.Index(labels["prompt_id"])),
        lengths=np.array([LENGTHS["words"](text) for text in texts]),
    )
    own = about["part"].to_numpy() == "judge"
    return PeoplesPairs(labels, texts, pairs, own, about["split"].to_numpy())
