"""Ledgers of claims that can't be judged by, each beside a look-alike that has to pass."""

import copy

import pytest
import yaml

from afd_study.errors import SpecError
from afd_study.evaluation.claims import check_methods, load_ledger

CLAIM = {
    "id": "X1",
    "sentence": "A beats B.",
    "source": "ours",
    "kind": "better",
    "form": "share",
    "table": "outcomes",
    "metric": "judge",
    "method": "init_sft",
    "than": "init_demo",
    "margin": 0.05,
    "settings": ["h = 1"],
}
LEDGER = {
    "tasks": ["harmless", "helpful"],
    "seeds": list(range(1000, 1008)),
    "level": 0.95,
    "n": 16,
    "coverage_only": [],
    "usual": ["h = 1"],
    "settings": {"h = 0": {"world.heterogeneity": 0}, "h = 1": {"world.heterogeneity": 1}},
    "claims": [CLAIM],
}


def ledger(*without, claim=None, **changes):
    """A ledger as YAML: some of its parts, or of its claim's, replaced or left out."""
    whole = copy.deepcopy(LEDGER) | changes
    whole["claims"] = [CLAIM | (claim or {})] if "claims" not in changes else changes["claims"]
    claims = [{key: value for key, value in each.items() if key not in without} for each in whole["claims"]]
    kept = {key: value for key, value in whole.items() if key not in without}
    return yaml.safe_dump(kept | ({"claims": claims} if "claims" in kept else {}))


TEXT = ledger()
DEEP = "[" * 5000
BOMB = "a: &a [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
BETWEEN = {"form": "between_tasks", "against": "helpful", "tasks": ["harmless"]}
IDENTITY = {"kind": "identity", "form": "identity", "metric": "sft_is_forward_kl", "settings": []}

# title: the ledger, what the error says, and one that looks like it and is right
CASES = {
    "an open list": (TEXT + "usual_too: [", "line 3.*expected|expected", "# [\n" + TEXT),
    "no mapping": ("- a\n- b\n", "valid dictionary", TEXT),
    "a word": ("claims", "valid dictionary", TEXT),
    "a tab": (TEXT + "\tx: 1", r"line \d+: .*'\\t'", TEXT + "# \tx: 1\n"),
    "a key twice": (TEXT + "n: 8\n", "the key 'n' stands here twice", TEXT + "# n: 8\n"),
    "a claim's key twice": (
        TEXT.replace("  margin: 0.05", "  margin: 0.05\n  margin: 0.5"),
        "line .*'margin' stands here twice",
        TEXT.replace("  margin: 0.05", "  margin: 0.05 # margin: 0.5"),
    ),
    "a tag": (
        ledger() + "x: !!python/name:os.system []",
        "could not determine a constructor",
        TEXT.replace("X1", "'!!python/name:os.system'"),
    ),
    "deep": (DEEP, "nested too deep", "# " + DEEP + "\n" + TEXT),
    "aliases of aliases": (
        BOMB,
        "more than 100000 values",
        ledger("usual", "coverage_only") + "usual: &u [h = 1]\ncoverage_only: *u\n",
    ),
    "two documents": (TEXT + "---\n" + TEXT, "line .*another document", "---\n" + TEXT),
    "NUL": (TEXT + "\x00", "unacceptable character", TEXT + "# \u200b"),
    "huge": (TEXT + "#" * 1_000_000, "has 1000.* characters", TEXT + "#" * 10_000),
    "octal": (
        TEXT.replace("n: 16", "n: 016"),
        "YAML would read '016' as a number",
        TEXT.replace("n: 16", "n: 16.0"),
    ),
    "parts of sixty": (
        TEXT.replace("n: 16", "n: 1:30"),
        "'1:30' as a number",
        TEXT.replace("n: 16", "n: 90"),
    ),
    "no end": (ledger(claim={"margin": float("inf")}), "'.inf' as a number", ledger(claim={"margin": 1e9})),
    "no number": (ledger(claim={"margin": float("nan")}), "'.nan' as a number", ledger(claim={"margin": 0})),
    "a truth": (TEXT.replace("id: X1", "id: no"), "'no' as a truth", TEXT.replace("id: X1", "id: 'no'")),
    "a date": (
        TEXT.replace("id: X1", "id: 2026-11-28"),
        "'2026-11-28' as a date",
        TEXT.replace("id: X1", "id: '2026-11-28'"),
    ),
    "no claims": (ledger("claims"), "claims: Field required", ledger(claims=[])),
    "no tasks": (ledger(tasks=[]), "tasks: Tuple should have at least 1", ledger(tasks=["harmless"])),
    "few seeds": (ledger(seeds=[1]), "seeds: Tuple should have at least 8", ledger(seeds=list(range(9)))),
    "an unknown part": (ledger(sedes=[]), "sedes: Extra inputs", ledger(seeds=list(range(1, 9)))),
    "a field too many": (ledger(claim={"margn": 1}), "margn: Extra inputs", ledger(claim={"margin": 1})),
    "a field too few": (ledger("sentence"), "sentence: Field required", ledger("than")),
    "a kind that is none": (
        ledger(claim={"kind": "bettr"}),
        "kind: Input should be 'better'",
        ledger(claim={"kind": "not_worse"}),
    ),
    "a negative margin": (ledger(claim={"margin": -0.1}), "margin: .*greater", ledger(claim={"margin": 0.0})),
    "a word for a margin": (
        ledger(claim={"margin": "much"}),
        "margin: Input should be a valid number",
        ledger(claim={"margin": "0.05"}),
    ),
    "an id twice": (
        ledger(claims=[CLAIM, CLAIM]),
        "names X1 twice",
        ledger(claims=[CLAIM, CLAIM | {"id": "X2"}]),
    ),
    "an unknown form": (
        ledger(claim={"form": "shar"}),
        r"unknown form \(claim X1\) 'shar': did you mean 'share'",
        ledger(claim={"form": "difference", "table": "coverage", "metric": "coverage"}),
    ),
    "an unknown table": (
        ledger(claim={"table": "outcome"}),
        "unknown table .*'outcomes'",
        ledger(claim={"form": "win_rate", "table": "win_rates", "metric": "win_rate_over_pi_sft"}),
    ),
    "an unknown metric": (ledger(claim={"metric": "juge"}), "unknown metric .*'judge'", ledger()),
    "a table of another form": (
        ledger(claim={"table": "coverage", "metric": "coverage"}),
        "unknown table of form share",
        ledger(claim={"form": "difference", "table": "coverage", "metric": "precision"}),
    ),
    "an unknown setting": (
        ledger(claim={"settings": ["h = 2"]}),
        "unknown setting .*'h = 2': did you mean",
        ledger(claim={"settings": ["h = 0", "h = 1"]}),
    ),
    "no setting": (ledger(claim={"settings": []}), "X1 names no setting", ledger(claim=IDENTITY)),
    "an unknown task": (
        ledger(claim={"tasks": ["harmles"]}),
        "unknown task .*'harmless'",
        ledger(claim={"tasks": ["helpful"]}),
    ),
    "a usual setting that is none": (
        ledger(usual=["h=1"]),
        "unknown setting of the ledger 'h=1'",
        ledger(usual=[]),
    ),
    "a value of an unknown task": (
        ledger(settings={"h = 1": {"world.stray": {"harmles": 1}}}),
        r"unknown task \(world.stray of setting 'h = 1'\) 'harmles'",
        ledger(settings={"h = 1": {"world.stray": {"harmless": 1, "helpful": 2}}}),
    ),
    "a task beside itself": (
        ledger(claim=BETWEEN | {"against": "harmless"}),
        "compares task 'harmless' with itself",
        ledger(claim=BETWEEN),
    ),
    "an unknown task beside it": (
        ledger(claim=BETWEEN | {"against": "helpfull"}),
        "unknown task .*'helpful'",
        ledger(claim=BETWEEN),
    ),
    "an unknown identity": (
        ledger(claim=IDENTITY | {"metric": "sft_is_kl"}),
        "unknown identity",
        ledger(claim=IDENTITY),
    ),
    "an unknown run": (
        ledger(claim={"run": "arm"}),
        "run: Input should be 'ledger' or 'arms'",
        ledger(claim={"run": "arms"}),
    ),
}


@pytest.mark.parametrize("title", CASES)
def test_a_bad_ledger_is_one_clear_error(title):
    text, says, _ = CASES[title]
    with pytest.raises(SpecError, match=says) as error:
        load_ledger(text)
    assert 30 < len(str(error.value)) < 600 and "\n" not in str(error.value)


@pytest.mark.parametrize("title", CASES)
def test_its_look_alike_passes(title):
    load_ledger(CASES[title][2])


def test_a_method_that_nobody_makes_is_refused():
    with pytest.raises(SpecError, match=r"unknown method \(claim X1\) 'init_sft': did you mean 'init_sfts'"):
        check_methods(load_ledger(ledger()), ["init_sfts", "init_demo"])
    check_methods(load_ledger(ledger()), ["init_sft", "init_demo"])
