"""The automaton is a law: proper, exact, with full support, and its samples follow it."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy.stats import chisquare

from afd_study.errors import SpecError
from afd_study.worlds.grammar import EOS, Arc, compile_grammar, join_words, split_words

ALPHABET = (EOS, ".", "a", "b", "c")
STRAY = 0.1
END = Arc(1, (EOS,), None)
GRAMMAR = {
    "start": [Arc(2, ("a", "."), "more"), Arc(1, ("a", "b", "."), "more"), Arc(3, ("b", "."), "last")],
    "more": [Arc(1, ("c", "."), "more"), Arc(3, (EOS,), None)],
    "last": [END],
}


@pytest.fixture(scope="module")
def automaton():
    return compile_grammar(GRAMMAR, start="start", alphabet=ALPHABET, stray=STRAY)


def sequences(horizon):
    """All responses of at most `horizon` words: ended, or cut there."""
    words = ALPHABET[1:]
    for length in range(horizon):
        yield from ((*body, EOS) for body in itertools.product(words, repeat=length))
    yield from itertools.product(words, repeat=horizon)


@pytest.mark.parametrize("horizon", [1, 2, 5])
def test_all_responses_up_to_a_horizon_have_probability_one(automaton, horizon):
    total = sum(math.exp(automaton.logprobs(words).sum()) for words in sequences(horizon))
    assert total == pytest.approx(1, abs=1e-12)


def test_the_law_behind_every_prefix_is_proper_and_is_what_step_says(automaton):
    prefixes = [words for n in range(4) for words in itertools.product(ALPHABET[1:], repeat=n)]
    for prefix in prefixes:
        law = automaton.law(prefix)
        assert law.sum() == pytest.approx(1, abs=1e-12) and (law > 0).all()
        steps = [automaton.logprobs((*prefix, word))[-1] for word in ALPHABET]
        np.testing.assert_allclose(np.log(law), steps, atol=1e-12)


def test_probabilities_are_those_computed_by_hand(automaton):
    kept, log = 1 - STRAY, math.log

    def logprobs(*words):
        return list(automaton.logprobs(words))

    # 2 of 6 parts say "a .", 1 says "a b .": "a" has half, and behind it "." two thirds
    assert logprobs("a", ".", EOS) == pytest.approx([log(kept / 2), log(kept * 2 / 3), log(kept * 3 / 4)])
    assert logprobs("a", "b", ".") == pytest.approx([log(kept / 2), log(kept / 3), log(kept)])
    assert logprobs("b", ".", EOS) == pytest.approx([log(kept / 2), log(kept), log(kept)])
    # stray words share STRAY evenly: three are not allowed at the start, four behind "b"
    assert logprobs("c", "c", "a") == pytest.approx([log(STRAY / 3), log(STRAY / 3), log(kept / 2)])
    assert logprobs("b", "c", ".") == pytest.approx([log(kept / 2), log(STRAY / 4), log(kept)])
    assert logprobs(EOS) == pytest.approx([log(STRAY / 3)])


def test_a_stray_full_stop_starts_the_clause_again_and_other_stray_words_do_not(automaton):
    # behind "a b" only "." is allowed; c leaves us there, and the full stop ends the clause
    assert automaton.n_stray(("a", "b", "c", ".", EOS)) == 1
    # at the start of "last" a full stop is stray: the state starts again, so EOS is still allowed
    assert automaton.n_stray(("b", ".", ".", EOS)) == 1
    # "b" is allowed behind "." only if the clause was given up: "c" inside a clause of "more"
    inside = compile_grammar(
        {"start": [Arc(1, ("a", "b", "."), "last")], "last": [END]},
        start="start",
        alphabet=ALPHABET,
        stray=STRAY,
    )
    assert inside.n_stray(("a", ".", "a", "b", ".", EOS)) == 1  # given up, and started again
    assert inside.n_stray(("a", ".", "b", ".", EOS)) > 1  # so "b" is no longer what comes next
    assert inside.n_stray(("a", "c", "b", ".", EOS)) == 1  # a stray word does not give up


def test_samples_follow_the_law(automaton):
    horizon, n = 3, 20000
    rng = np.random.default_rng(5)
    responses = [tuple(automaton.sample(rng, horizon)) for _ in range(n)]
    expected = {words: n * math.exp(automaton.logprobs(words).sum()) for words in sequences(horizon)}
    assert set(responses) <= set(expected)
    common = [words for words, count in expected.items() if count >= 8]
    seen = [responses.count(words) for words in common]
    awaited = [expected[words] for words in common]
    seen, awaited = [*seen, n - sum(seen)], [*awaited, n - sum(awaited)]
    assert len(common) > 15 and chisquare(seen, awaited).pvalue > 0.01


def test_samples_end_with_the_end_mark_or_at_the_horizon(automaton):
    rng = np.random.default_rng(0)
    for _ in range(200):
        words = automaton.sample(rng, 4)
        assert EOS not in words[:-1]
        assert len(words) == 4 or words[-1] == EOS


def test_the_same_generator_gives_the_same_words(automaton):
    def sample(seed):
        rng = np.random.default_rng(seed)
        return [automaton.sample(rng, 9) for _ in range(20)]

    assert sample(1) == sample(1) != sample(2)


def test_words_of_no_probability_are_refused(automaton):
    with pytest.raises(SpecError, match="'d' is not in the world's alphabet of 5 words"):
        automaton.logprobs(("a", "d"))
    with pytest.raises(SpecError, match="words follow the end mark"):
        automaton.logprobs((EOS, "a"))
    with pytest.raises(SpecError, match="nothing follows"):
        automaton.law(("a", ".", EOS))


def arcs(*clauses, target="last"):
    return {"start": [Arc(1, tuple(words.split()), target) for words in clauses], "last": [END]}


FAULTS = {
    "the same clause twice": (arcs("a b .", "a b ."), "begins or repeats"),
    "one clause begins another": (arcs("a", "a b ."), "begins or repeats"),
    "one clause begins another, the longer first": (arcs("a b .", "a"), "begins or repeats"),
    "no arcs": ({"start": []}, "no arc with a positive weight"),
    "no weight": ({"start": [Arc(0, (EOS,), None)]}, "no arc with a positive weight"),
    "unknown target": (arcs("a .", target="lost"), "'lost': did you mean 'last'"),
    "unknown start": ({"begin": [END]}, "unknown state of the grammar 'start'"),
    "a word outside the alphabet": (arcs("a z ."), r"outside the alphabet: \['z'\]"),
    "an end mark inside a clause": (arcs(f"a {EOS}"), "the end mark alone"),
    "an end mark that leads on": (arcs(EOS), "the end mark alone"),
    "an end without its mark": ({"start": [Arc(1, ("a",), None)]}, "the end mark alone"),
    "an empty clause": (arcs(""), "the end mark alone"),
    "nothing to stray to": (
        arcs("a", "b", "c", ".") | {"start": [*arcs("a", "b", "c", ".")["start"], END]},
        "a word that is not allowed",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_no_unambiguous_law_is_refused(fault):
    grammar, message = FAULTS[fault]
    with pytest.raises(SpecError, match=message):
        compile_grammar(grammar, start="start", alphabet=ALPHABET, stray=STRAY)


@pytest.mark.parametrize("stray", [0.0, 1.0, -0.1])
def test_full_support_needs_a_stray_probability_inside_zero_and_one(stray):
    with pytest.raises(SpecError, match="stray must lie strictly between 0 and 1"):
        compile_grammar(GRAMMAR, start="start", alphabet=ALPHABET, stray=stray)


def test_clauses_of_no_weight_are_stray_words_only():
    grammar = GRAMMAR | {"last": [END, Arc(0, ("c", "."), "last")]}
    automaton = compile_grammar(grammar, start="start", alphabet=ALPHABET, stray=STRAY)
    assert automaton.n_stray(("b", ".", "c")) == 1


WORDS = st.one_of(
    st.from_regex(r"\w+(?:['-]\w+)*", fullmatch=True),
    st.from_regex(r"<\w+>", fullmatch=True),
    st.from_regex(r"[^\w\s]", fullmatch=True),
)


@given(st.lists(WORDS, max_size=12))
def test_splitting_undoes_joining(words):
    assert split_words(join_words(words)) == words


@given(st.text())
def test_any_text_is_a_list_of_words_that_joins_to_the_same_words(text):
    words = split_words(text)
    assert split_words(join_words(words)) == words
    assert "".join(words) == "".join(text.split())


def test_words_are_joined_as_people_write():
    words = ["Sure", ",", "I", "can't", "help", ".", "Really", "?", "(", "no", ")"]
    assert join_words(words) == "Sure, I can't help. Really? ( no )"
    assert split_words("Sure, I can't help.\n\nReally?(no)") == words
