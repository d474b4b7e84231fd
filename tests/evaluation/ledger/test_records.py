"""The second ledger's file: every name in it is checked, and the nearest known one is offered."""

import pytest
from ledgers import ledger_text

from afd_study.errors import SpecError
from afd_study.evaluation.ledger.records import check_methods, load_ledger


def test_the_ledger_of_the_package_can_be_read():
    ledger = load_ledger()
    assert {"E4", "E8", "R2a", "N12"} <= {claim.id for claim in ledger.claims}
    assert all(claim.families and claim.run for claim in ledger.claims)


def test_every_claim_on_free_samples_has_one_at_equal_counts():
    """The front page's rows on Init-SFT are judged twice; only free samples are primary."""
    claims = {claim.id: claim for claim in load_ledger().claims}
    for name in ("E4", "E5", "E7", "E8", "R2a", "R2b", "R2c", "R2d", "R4a"):
        free, equal = claims[name], claims[f"{name}e"]
        assert free.method == "init_sft_x10" and free.primary
        assert equal.method == "init_sft" and not equal.primary
        assert (free.margin, free.kind, free.settings) == (equal.margin, equal.kind, equal.settings)


def test_a_claim_takes_the_ledgers_families_and_its_first_run():
    claim = load_ledger(ledger_text({})).claims[0]
    assert claim.families == ("harmless", "helpful") and claim.run == "scorers"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"form": "shore"}, "form .claim X1. 'shore': did you mean 'share'"),
        ({"metric": "juge"}, "metric .claim X1. 'juge': did you mean 'judge'"),
        ({"table": "outcome"}, "table .claim X1. 'outcome': did you mean 'outcomes'"),
        ({"form": "predicts"}, "table of form predicts .claim X1. 'outcomes'"),
        ({"families": ["harmles"]}, "family .claim X1. 'harmles': did you mean 'harmless'"),
        ({"settings": ["h = 2"]}, "setting of run scorers .claim X1. 'h = 2'"),
        ({"settings": []}, "names no setting"),
        ({"run": "arm"}, "run for judging .claim X1. 'arm': did you mean 'arms'"),
        ({"run": "arms", "settings": ["h = 0"]}, "setting of run arms .claim X1. 'h = 0'"),
        ({"where": {"kind": 2}}, "stratum .claim X1. 'kind': did you mean 'kinds'"),
        ({"against": "h = 0"}, "which form share ignores"),
        ({"form": "between_settings", "against": "h = 3"}, "setting of run scorers .claim X1. 'h = 3'"),
        ({"form": "between_families", "against": "helpful"}, "compares family 'helpful' with itself"),
        ({"form": "between_strata", "against": "kids"}, "stratum .claim X1. 'kids': did you mean 'kinds'"),
        ({"kind": "identity", "metric": "sft_is_reverse_kl"}, "identity .claim X1."),
        ({"kind": "beter"}, "kind"),
        ({"margin": -0.1}, "margin"),
        ({"methd": "x"}, "methd"),
        ({"premise": {"claim": "X2", "setting": "h = 1", "verdict": "yes"}}, "claim of the premise .* 'X2'"),
        ({"premise": {"claim": "X1", "setting": "h = 0", "verdict": "yes"}}, "setting of the premise"),
        ({"premise": {"claim": "X1", "setting": "h = 1", "verdict": "yess"}}, "verdict of the premise"),
    ],
)
def test_a_name_that_does_not_exist_is_refused(changes, message):
    with pytest.raises(SpecError, match=message):
        load_ledger(ledger_text(changes))


def test_two_claims_may_not_share_an_id():
    with pytest.raises(SpecError, match="names X1 twice"):
        load_ledger(ledger_text({}, {}))


def test_unknown_methods_are_refused():
    ledger = load_ledger(ledger_text({}))
    check_methods(ledger, ["init_sft", "random"])
    with pytest.raises(SpecError, match="method .claim X1. 'init_sft'"):
        check_methods(ledger, ["init_sft_x10", "random"])


def test_overrides_are_the_runs_and_the_settings():
    ledger = load_ledger(ledger_text({}))
    assert ledger.overrides("scorers", "h = 1") == {"sampling.draws": 64, "world.heterogeneity": 1}
    with pytest.raises(SpecError, match="run of the ledger 'arm'"):
        ledger.overrides("arm", "h = 1")
