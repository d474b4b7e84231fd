"""Which step comes next."""

from afd_study.study.workflow.executor import urgency
from afd_study.study.workflow.step import Step


def test_urgent_is_what_the_longest_chain_waits_for():
    policy = Step("policy", "m:f", {"seed": 0}, {})
    note = Step("note", "m:f", {"seed": 1}, {})
    reward = Step("reward", "m:f", {"seed": 2}, {"policy": policy})
    scores = Step("scores", "m:f", {"seed": 3}, {"reward": reward, "note": note})
    here_already = Step("texts", "m:f", {"seed": 4}, {})
    table = Step("table", "m:f", {"seed": 5}, {"scores": scores, "policy": policy, "texts": here_already})
    todo = {step.key: step for step in (note, policy, reward, scores, table)}
    expected = {each.key: seconds for each, seconds in zip(todo.values(), (1, 60, 10, 2, 4), strict=True)}
    found = urgency(todo, expected)
    assert {step.name: found[key] for key, step in todo.items()} == {
        "policy": 76,
        "reward": 16,
        "note": 7,
        "scores": 6,
        "table": 4,
    }
