"""Likeliest responses, entropy and length are those that enumeration gives."""

import itertools
import math

import numpy as np
import pytest

from afd_study.errors import SpecError
from afd_study.worlds.grammar import EOS, Arc, arcs, compile_grammar, finish, unending
from afd_study.worlds.law_measures import extent, likeliest

ALPHABET = (EOS, ".", "a", "b", "c")
GRAMMAR = {
    "start": [Arc(2, ("a", "."), "more"), Arc(1, ("a", "b", "."), "more"), Arc(3, ("b", "."), "last")],
    "more": [Arc(1, ("c", "."), "more"), Arc(3, (EOS,), None)],
    "last": [Arc(1, (EOS,), None)],
}


def compiled(grammar=GRAMMAR, stray=0.1):
    return compile_grammar(grammar, start="start", alphabet=ALPHABET, stray=stray)


def sequences(horizon):
    words = ALPHABET[1:]
    for length in range(horizon):
        yield from ((*body, EOS) for body in itertools.product(words, repeat=length))
    yield from itertools.product(words, repeat=horizon)


@pytest.mark.parametrize("stray", [0.01, 0.3])
def test_entropy_length_and_ends_are_sums_over_all_responses(stray):
    law = compiled(stray=stray)
    for horizon in (1, 3, 6):
        logprobs = {words: law.logprobs(words).sum() for words in sequences(horizon)}
        measured = extent(law, horizon)
        assert measured.entropy == pytest.approx(-sum(math.exp(p) * p for p in logprobs.values()))
        assert measured.length == pytest.approx(sum(math.exp(p) * len(w) for w, p in logprobs.items()))
        ended = sum(math.exp(p) for w, p in logprobs.items() if w[-1] == EOS)
        assert measured.ends == pytest.approx(ended)


def test_the_likeliest_responses_are_the_likeliest_of_all():
    law = compiled(stray=0.01)
    every = sorted(((law.logprobs(w).sum(), w) for w in sequences(9) if w[-1] == EOS), reverse=True)
    best = likeliest(law, 4)
    assert [words for words, _ in best] == [words for _, words in every[:4]]
    np.testing.assert_allclose([p for _, p in best], [p for p, _ in every[:4]])
    assert best[0][0] == ("b", ".", EOS)


def test_connectors_stand_where_a_response_ended_and_only_a_stray_end_mark_ends_it():
    endless = unending(GRAMMAR, ["c b.", "c c."], start="start")
    assert not any(arc.target is None for leaving in endless.values() for arc in leaving)
    assert [arc.words for arc in endless["last"]] == [("c", "b", "."), ("c", "c", ".")]
    assert [arc.weight for arc in endless["last"]] == [0.5, 0.5]
    law = compile_grammar(
        {**endless, "more": endless["more"][1:]}, start="start", alphabet=ALPHABET, stray=0.01
    )
    assert extent(compiled(stray=0.01), 50).ends > 0.999 and extent(law, 50).ends < 0.2
    with pytest.raises(SpecError, match="the law has no 1 responses among its"):
        likeliest(law, 1)


def test_wordings_share_a_weight_evenly_or_by_rank():
    texts = ["a.", "b.", "c.", "a b."]
    assert [arc.weight for arc in arcs(0.6, texts, "over")] == pytest.approx([0.15] * 4)
    assert [arc.weight for arc in arcs(0.7, texts[:3], "over", 0.5)] == pytest.approx([0.4, 0.2, 0.1])
    paired = [arc.weight for arc in arcs(0.6, texts, "over", 0.5, 2)]
    assert paired == pytest.approx([0.2, 0.1, 0.2, 0.1])
    assert arcs(0.6, [], "over") == [] and finish(0.4) == Arc(0.4, (EOS,), None)
