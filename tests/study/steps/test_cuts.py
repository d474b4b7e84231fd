"""Texts over a bound are counted, and said in one line."""

import pytest

from afd_study.models.specs import SamplingSpec
from afd_study.study.steps.cuts import Cuts

PROMPTS = "1 of 3 prompts lost their beginning (max_prompt_tokens=4)"
RESPONSES = "2 of 3 responses lost their end (max_new_tokens=2)"


@pytest.mark.parametrize(
    ("prompts", "responses", "said"),
    [
        ([1, 4, 5], [1, 1, 2], PROMPTS),
        ([1, 4, 4], [2, 3, 9], RESPONSES),
        ([1, 4, 5], [2, 3, 9], f"{PROMPTS}, {RESPONSES}"),
        ([4, 4], [2], ""),
        ([], [], ""),
    ],
)
def test_what_exceeds_a_bound_is_said(prompts, responses, said):
    cuts = Cuts(SamplingSpec(max_prompt_tokens=4, max_new_tokens=2))
    for tokens in prompts:
        cuts.prompt(tokens)
    for tokens in responses:
        cuts.response(tokens)
    assert cuts.line() == said


def test_without_a_bound_no_prompt_is_cut():
    cuts = Cuts(SamplingSpec(max_new_tokens=2))
    cuts.prompt(10**6)
    assert cuts.line() == "" and cuts.prompts == 1
