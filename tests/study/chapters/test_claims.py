"""The ledger's chapter: verdicts from frozen values, the front page's table and its sentences."""

import json
import re
import subprocess
import sys

import pytest
import yaml

from afd_study.errors import SpecError
from afd_study.evaluation.claims import RESULT_COLUMNS, load_ledger
from afd_study.study.chapters import claims
from afd_study.study.frozen.files import freeze
from afd_study.study.frozen.seed_means import wide

COMMAND = [sys.executable, "-m", "afd_study.study", "claims"]


def printed(*options):
    return subprocess.run([*COMMAND, *options], capture_output=True, text=True, check=True).stdout


def test_claims_are_judged_from_frozen_values_and_printed(elsewhere, made_up):
    freeze("ledger", {"values": wide(made_up)}, profile="cpu", seeds=list(load_ledger().seeds))
    results = claims.claims()
    verdicts = {(row.id, row.task, row.setting): row.verdict for row in results.itertuples()}
    assert verdicts["E4", "harmless", "h = 1"] == verdicts["R1", "helpful", "h = 0"] == "supported"
    assert verdicts["L4", "helpful", "h = 1"] == "not yet tested"
    assert verdicts["I1", "enumerated", ""] == "supported"
    tested = results[results["n_seeds"] > 0]
    assert (tested["n_seeds"] == 8).all() and set(results["id"]) == set(claims.claim_ids())
    page = claims.front_page()
    assert page.count("\n") == len(claims.claim_ids()) + 2 and "| E4 |" in page and "not yet tested" in page
    for row in page.splitlines():  # a bar in a sentence would be a column more
        assert len(re.findall(r"(?<!\\)\|", row)) == 7, row
    records = json.loads(printed("--json"))
    assert len(records) == len(results) and list(records[0]) == list(RESULT_COLUMNS)
    assert f"{len(tested)} rows" in printed()
    with pytest.raises(SpecError, match=r"rests on \('E4', .* but the ledger has .*findings.yaml"):
        claims.in_words(results)


def test_the_front_pages_sentences_rest_on_the_frozen_verdicts(monkeypatch):
    monkeypatch.delenv("AFD_RESULTS", raising=False)
    results = claims.claims()
    sentences = claims.in_words(results)
    assert sentences and all(sentence.startswith("**") for sentence in sentences)
    row = (results["id"] == "L2b") & (results["task"] == "helpful")
    with pytest.raises(SpecError, match="being supported, but the ledger has contradicted"):
        claims.in_words(results.assign(verdict=results["verdict"].mask(row, "contradicted")))


def test_a_claim_of_an_unknown_method_stops_the_ledger(elsewhere, made_up, monkeypatch):
    freeze("ledger", {"values": wide(made_up)})
    text = yaml.safe_dump(load_ledger().model_dump(mode="json"))
    text = text.replace("than: likelihood", "than: likelyhood")
    monkeypatch.setattr(claims, "load_ledger", lambda: load_ledger(text))
    with pytest.raises(SpecError, match="'likelyhood': did you mean 'likelihood'"):
        claims.claims()
