"""Sentences end at full stops and are named by the nearest clause, and no words are left out."""

from afd_study.worlds.sentences import MAX_SLIPS, Clause, Inventory, sentences

EATS, SLEEPS = Clause("meal", "owl"), Clause("bed", "owl")
KNOWN = Inventory({("It", "eats", "mice", "."): EATS, ("It", "sleeps", "."): SLEEPS})


def test_sentences_end_at_full_stops_and_lose_no_word():
    words = "It sleeps . mice It eats .  ."
    assert sentences(words.split()) == [("It", "sleeps", "."), ("mice", "It", "eats", "."), (".",)]
    assert sentences(["It"]) == [("It",)] and sentences([]) == []


def test_words_struck_out_are_slips_and_too_many_make_a_sentence_unknown():
    slip = "It really eats mice ."
    assert KNOWN.read(slip.split()) == ([EATS], 0, 1)
    assert KNOWN.read(f"{'so ' * MAX_SLIPS}It sleeps .".split()) == ([SLEEPS], 0, MAX_SLIPS)
    assert KNOWN.read(f"{'so ' * (MAX_SLIPS + 1)}It sleeps .".split()) == ([], 1, 0)


def test_a_missing_word_or_another_order_is_no_slip():
    assert KNOWN.read("It eats .".split()).unknown == 1
    assert KNOWN.read("mice eats It .".split()).unknown == 1


def test_the_nearest_clause_is_the_one_with_the_fewest_words_struck():
    both = Inventory({("It", "."): Clause("short", ""), ("It", "eats", "."): Clause("long", "")})
    assert both.nearest(("It", "eats", "so", ".")) == (Clause("long", ""), 1)


def test_remembering_changes_no_answer():
    words = "It now eats mice . It sleeps .".split()
    assert KNOWN.read(words) == KNOWN.read(words) == ([EATS, SLEEPS], 0, 1)
