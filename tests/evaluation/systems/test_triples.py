"""Triples are chosen by a rule that looks at no verdict, and stay as they were written down."""

from importlib.resources import files

import pytest
from alpaca_folders import made_up

from afd_study.errors import SpecError
from afd_study.evaluation.systems.discriminators import Triple
from afd_study.evaluation.systems.grid import grid_of
from afd_study.evaluation.systems.triples import load_triples, pool, triples_digest
from afd_study.worlds.alpaca_eval import AlpacaEvalSpec, load_answers

TEXT = files("afd_study.evaluation.systems").joinpath("triples.yaml").read_text(encoding="utf-8")


def test_the_digest_stands_in_the_log(root):
    assert triples_digest() in (root / "book" / "log.md").read_text(encoding="utf-8")


def test_judged_triples_are_new_and_of_three_bands_a_pair():
    triples = load_triples()
    explored = {(each.base, each.tuned) for each in triples.exploration}
    assert not explored & {(pair.base, pair.tuned) for pair in triples.pairs}
    assert len(triples.judged) == len(triples.pairs) * len(triples.demonstrators.bands)
    assert not any(triples.is_reference(each.triple) for each in triples.judged)
    assert [triples.is_reference(each.triple) for each in triples.exploration] == [True, False, True, True]


def test_judged_triples_are_what_the_rule_gives(alpaca_eval):
    report = load_answers(AlpacaEvalSpec(folder=alpaca_eval)).report
    medians = report.set_index("system")["median_characters"].to_dict()
    assert load_triples().by_rule(medians) == load_triples().judged


def test_the_rule_takes_one_of_each_band_by_length_alone():
    triples = load_triples()
    medians = {name: float(number) for number, name in enumerate(triples.large)}
    chosen = triples.by_rule(medians)[:3]
    assert [each.band for each in chosen] == ["shorter", "middle", "longer"]
    assert sorted(medians[each.demonstrator] for each in chosen) == [medians[c.demonstrator] for c in chosen]
    with pytest.raises(SpecError, match="unknown system 'claude'"):
        triples.by_rule({name: 1.0 for name in triples.large if name != "claude"})


def test_the_pool_is_without_the_triple_its_relatives_and_those_without_verdicts():
    answers, verdicts = made_up(n_prompts=4, n_systems=8)
    names = ["phi-2", "phi-2-sft", "gpt4", "phi-2-dpo", "gpt4_0314", "text_davinci_003", "zephyr", "mute"]
    renamed = {f"s{n:02}": name for n, name in enumerate(names)}
    verdicts = verdicts.replace({"system": renamed})
    verdicts = verdicts[(verdicts["system"] != "mute") | (verdicts["prompt_id"] == "p000")]
    grid = grid_of(answers.replace({"system": renamed}), verdicts)
    outside = load_triples().outside(Triple("phi-2", "phi-2-sft", "gpt4"))
    assert pool(grid, outside) == ("zephyr",)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("method: init_sft, less: init_demo", "method: init_stf, less: init_demo", "did you mean 'init_sft'"),
        ("adjustment: length taken out", "adjustment: length out", "did you mean 'length taken out'"),
        (
            "base: phi-2, tuned: phi-2-sft, demonstrator: gpt4}",
            "base: gpt4, tuned: x, demonstrator: gpt4}",
            "twice",
        ),
        ("reference: text", "referense: text", "Extra inputs"),
        ("splits: 3, ", "spilts: 3, ", "spilts"),
        (
            "base: phi-2, tuned: phi-2-dpo, demonstrator: claude",
            "base: phi-2, tuned: phi-2-sft, demonstrator: gpt4",
            "which was explored",
        ),
    ],
)
def test_a_file_of_triples_that_cannot_be_meant_is_refused(old, new, words):
    assert old in TEXT
    with pytest.raises(SpecError, match=words):
        load_triples(TEXT.replace(old, new, 1))
