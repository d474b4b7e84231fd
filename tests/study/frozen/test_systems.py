"""Real systems from folder to frozen tables, on made-up answers: aggregates alone, and verdicts."""

import gguf_models
import pytest
from alpaca_folders import WORDS, record, write_system

from afd_study.errors import DataError, SpecError
from afd_study.evaluation.systems import verdicts as judged
from afd_study.evaluation.systems.triples import load_triples
from afd_study.models.gguf_files import convert
from afd_study.study import freeze
from afd_study.study.frozen import systems as frozen
from afd_study.study.frozen.files import read_frozen, read_manifest, results_folder
from afd_study.study.pipeline import systems as pipeline

OTHERS = ("report", "prompts", "judge", "penalties", "read")


@pytest.fixture(scope="module")
def few():
    """The package's triples, cut down to four judged ones of two lineages, and few draws."""
    triples = load_triples()
    fitting = triples.fitting.model_copy(update={"splits": 1})
    short = {"judged": (triples.judged[0], triples.judged[1], *triples.judged[6:8]), "resamples": 4, "n": 4}
    return triples.model_copy(update=short | {"exploration": triples.exploration[:1], "fitting": fitting})


@pytest.fixture(scope="module")
def computed(few, tmp_path_factory):
    """Frozen results of a made-up copy of AlpacaEval, and how many steps a second call runs."""
    folder = tmp_path_factory.mktemp("alpaca")
    for place, name in enumerate(few.systems):
        texts = [f"{name} " + " ".join(WORDS[: 3 + (place * number) % 11]) for number in range(40)]
        rows = [record(n, text, 1.0 + (n * place) % 3 / 2) for n, text in enumerate(texts)]
        write_system(folder, name, rows)
    model = tmp_path_factory.mktemp("model") / "llama"
    convert(gguf_models.write(gguf_models.llama(), model.with_name("tiny.gguf")), model)
    with pytest.MonkeyPatch.context() as patch:
        for module in (pipeline, frozen):
            patch.setattr(module, "load_triples", lambda: few)
        patch.setenv("AFD_RESULTS", str(tmp_path_factory.mktemp("results")))
        patch.setenv("AFD_STORE", str(tmp_path_factory.mktemp("store")))
        patch.setattr(pipeline, "READ", {**pipeline.READ, "layer": 1, "dtype": "float32"})
        freeze.freeze_systems(jobs=1, folder=folder, model=str(model))
        steps = pipeline.systems_of(folder, str(model)).all()
        again = freeze.execute(steps, freeze.default_store(), quiet=True)
        yield folder, again, str(model)


def test_what_is_frozen_holds_numbers_and_no_text(computed):
    folder, again, _ = computed
    assert again == 0, "nothing is computed twice"
    tables = read_manifest("systems")["files"]
    assert set(tables) == {f"{name}.csv" for name in (*frozen.OF_TRIPLES, *OTHERS)}
    for name in tables:
        text = (results_folder() / "systems" / name).read_text(encoding="utf-8")
        assert "Question number" not in text and "sun moon" not in text
    assert str(folder) not in str(read_manifest("systems"))


def test_every_triple_stands_on_every_choice_of_prompts(computed, few):
    table = read_frozen("systems", "agreement")
    places = table[["reader", "prompts", "base", "tuned", "demonstrator"]].drop_duplicates()
    assert len(places) == 2 * len(few.prompts) * (len(few.judged) + len(few.exploration))
    assert table.groupby("explored").ngroups == 2


def test_the_steps_that_tables_rest_on_are_known_without_the_folder(computed, few):
    keys = {step.key for step in pipeline.systems_of(computed[0], computed[2]).all()}
    assert {step.key for step in frozen.frozen_steps()} == keys


def test_verdicts_are_over_lineages_and_need_every_judged_triple(computed, few):
    table = read_frozen("systems", "agreement")
    rows = judged.verdicts(table, few)
    assert (
        set(rows["id"]) == set(few.contrasts)
        and set(rows["n_worlds"]) == {2}
        and set(rows["n_triples"]) == {4}
    )
    values = judged.contrast_values(table, few.contrasts["E4"]).query(
        "prompts == 'all' and reader == 'words'"
    )
    expected = values.iloc[1:]["value"].mean()  # the first is explored
    row = rows[(rows["id"] == "E4") & (rows["prompts"] == "all") & (rows["reader"] == "words")].iloc[0]
    assert row["effect"] == pytest.approx(expected, abs=1e-6) and row["primary"]
    assert set(rows.loc[rows["id"] == "R2b", "reader"]) == {"states"}, "a bag of words has no likelihood"
    with pytest.raises(DataError, match="3 of 4 judged triples"):
        judged.verdicts(table[table["demonstrator"] != few.judged[0].demonstrator], few)


def test_without_a_folder_nothing_is_computed():
    with pytest.raises(SpecError, match="--alpaca-eval FOLDER"):
        freeze.freeze_systems(jobs=1)
