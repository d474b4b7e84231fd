"""Where texts lie goes to the results that read them, and is refused elsewhere."""

from pathlib import Path

import pytest

from afd_study.errors import SpecError
from afd_study.study.text_places import text_places


def test_each_result_has_its_own_places():
    given = {"--hh-rlhf": Path("a"), "--alpaca-eval": Path("b"), "--model": None}
    assert text_places("pretrained", given) == {"folders": {"harmless": Path("a"), "helpful": Path("b")}}
    one = {"--hh-rlhf": None, "--alpaca-eval": Path("b"), "--model": "smollm2"}
    assert text_places("systems", one) == {"folder": Path("b"), "model": "smollm2"}
    assert text_places("ledger", dict.fromkeys(given)) == {}
    assert text_places("pretrained", dict.fromkeys(given)) == {"folders": {}}


def test_an_option_that_a_result_does_not_read_is_refused():
    with pytest.raises(SpecError, match="--model is not for --what pretrained: it is for systems"):
        text_places("pretrained", {"--model": "smollm2"})
    with pytest.raises(SpecError, match="it is for systems and pretrained"):
        text_places("ledger", {"--alpaca-eval": Path("b")})
