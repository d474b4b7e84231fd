"""One claim and the rules that judge it; `claims.yaml` says what the fields mean."""

from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from pydantic import Field, ValidationError

from afd_study.errors import SpecError, unknown_name
from afd_study.evaluation.identities import IDENTITIES
from afd_study.evaluation.ledger.contrasts import FORMS, METRICS
from afd_study.evaluation.verdicts import VERDICTS, Kind
from afd_study.evaluation.world_rows import STRATA
from afd_study.plain_yaml import read_yaml
from afd_study.settings import Settings, faults_of


class Premise(Settings):
    """What has to hold for a claim to be applicable: the verdict of another row, in the same family."""

    claim: str
    setting: str
    verdict: str


class Claim(Settings):
    """One sentence, one contrast, and the rule that judges it."""

    id: str
    sentence: str
    source: str
    kind: Literal[Kind, "identity"]
    form: str = "share"
    table: str = "outcomes"
    metric: str = "judge"
    method: str = ""
    than: str = ""
    against: str = ""
    margin: float = Field(ge=0)
    families: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    where: dict[str, int | bool] = Field(default_factory=dict)
    run: str = ""
    premise: Premise | None = None
    primary: bool = True
    post_hoc: bool = False
    first: str = Field("", description="the id that the first ledger gave to what this row asks")


class Run(Settings):
    """Studies that claims are judged on, or explored beforehand: settings, crossed with worlds and seeds.

    `worlds` are the judging worlds of the whole design, the first of each of its cells, or named ones: these
    are for exploration, and no claim may rest on them.
    """

    worlds: Literal["all", "one a cell"] | tuple[int, ...]
    where: dict[str, int | bool] = Field(
        default_factory=dict, description="only worlds with these properties"
    )
    seeds: tuple[int, ...] = Field(min_length=1)
    settings: tuple[str, ...] = Field(min_length=1)
    wanted: tuple[str, ...] = Field(min_length=1, description="roles of the steps whose tables are read")
    overrides: dict[str, Any] = Field(default_factory=dict, description="of all its studies")


class Ledger(Settings):
    """The whole file."""

    families: tuple[str, ...] = Field(min_length=1)
    level: float
    n: int = Field(ge=2, description="responses that a pick is made from, where a claim does not say")
    smallest_gap: float = Field(gt=0, description="judge points; a world with less is no room")
    sizes: tuple[int, ...] = Field(description="the n over which claims are drawn")
    margins: tuple[float, ...] = Field(description="the margins at which claims are drawn")
    settings: dict[str, dict[str, Any]]
    runs: dict[str, Run] = Field(min_length=1)
    groups: dict[str, tuple[str, ...]] = Field(description="settings that many claims name together")
    claims: tuple[Claim, ...]

    def overrides(self, run: str, setting: str) -> dict[str, Any]:
        """Return the study's settings of one run and setting. Raises SpecError for an unknown name."""
        if run not in self.runs:
            raise unknown_name("run of the ledger", run, self.runs)
        if setting not in self.settings:
            raise unknown_name("setting of the ledger", setting, self.settings)
        return {**self.runs[run].overrides, **self.settings[setting]}

    @property
    def judging_runs(self) -> list[str]:
        """The runs that claims may rest on."""
        return [name for name, run in self.runs.items() if isinstance(run.worlds, str)]

    def claim(self, name: str) -> Claim:
        """Return a claim by its id. Raises SpecError for an unknown one."""
        for claim in self.claims:
            if claim.id == name:
                return claim
        raise unknown_name("claim", name, [claim.id for claim in self.claims])


@cache
def load_ledger(text: str = "") -> Ledger:
    """Read the ledger (the package's own, or `text` as YAML) and check every name in it.

    A claim without families gets those of the ledger, one without a run the first. Raises SpecError for an
    unknown form, table, metric, family, setting, run, stratum, premise or field, with the nearest known name,
    and for what is no plain YAML (plain_yaml).
    """
    text = text or files("afd_study.evaluation.ledger").joinpath("claims.yaml").read_text(encoding="utf-8")
    try:
        ledger = Ledger.model_validate(read_yaml(text, "the ledger of claims"))
    except ValidationError as fault:
        raise SpecError(f"the ledger of claims: {faults_of(fault)}") from None
    usual = next(iter(ledger.runs))
    filled = {"families": ledger.families, "run": usual}
    claims = tuple(_filled(claim, filled) for claim in ledger.claims)
    ledger = ledger.model_copy(update={"claims": claims})
    ids = [claim.id for claim in claims]
    repeated = {name for name in ids if ids.count(name) > 1}
    if repeated:
        raise SpecError(f"the ledger of claims names {min(repeated)} twice; give each claim an id of its own")
    for name, run in ledger.runs.items():
        for setting in run.settings:
            _known(f"setting (run {name})", setting, ledger.settings)
        for stratum in run.where:
            _known(f"stratum (run {name})", stratum, STRATA)
    for claim in claims:
        _check(claim, ledger)
    return ledger


def _filled(claim: Claim, usual: Mapping[str, Any]) -> Claim:
    return claim.model_copy(update={name: getattr(claim, name) or value for name, value in usual.items()})


def _known(kind: str, name: object, names: Iterable[Any]) -> None:
    known = list(names)
    if name not in known:
        raise unknown_name(kind, str(name), map(str, known))


def _check(claim: Claim, ledger: Ledger) -> None:
    where = f"(claim {claim.id})"
    if claim.kind == "identity":
        _known(f"identity {where}", claim.metric, IDENTITIES)
        return
    _known(f"form {where}", claim.form, FORMS)
    _known(f"table {where}", claim.table, METRICS)
    _known(f"table of form {claim.form} {where}", claim.table, FORMS[claim.form].tables)
    _known(f"metric {where}", claim.metric, METRICS[claim.table])
    _known(f"run for judging {where}", claim.run, ledger.judging_runs)
    for family in claim.families:
        _known(f"family {where}", family, ledger.families)
    for setting in claim.settings:
        _known(f"setting of run {claim.run} {where}", setting, ledger.runs[claim.run].settings)
    for stratum in claim.where:
        _known(f"stratum {where}", stratum, STRATA)
    if not claim.settings:
        raise SpecError(f"claim {claim.id} names no setting; every verdict holds for one")
    _check_against(claim, ledger, where)
    if claim.premise is not None:
        other = {each.id: each for each in ledger.claims}
        _known(f"claim of the premise {where}", claim.premise.claim, other)
        _known(f"setting of the premise {where}", claim.premise.setting, other[claim.premise.claim].settings)
        _known(f"verdict of the premise {where}", claim.premise.verdict, VERDICTS)


def _check_against(claim: Claim, ledger: Ledger, where: str) -> None:
    """Check what a claim's own place is compared with, where its form compares places."""
    if claim.form == "between_settings":
        _known(f"setting of run {claim.run} {where}", claim.against, ledger.runs[claim.run].settings)
    elif claim.form == "between_families":
        _known(f"family {where}", claim.against, ledger.families)
        if claim.against in claim.families:
            raise SpecError(
                f"claim {claim.id} compares family '{claim.against}' with itself: let `families` name others"
            )
    elif claim.form == "between_strata":
        _known(f"stratum {where}", claim.against, STRATA)
    elif claim.against:
        raise SpecError(
            f"claim {claim.id} is compared with '{claim.against}', which form {claim.form} ignores"
        )


def check_methods(ledger: Ledger, names: Iterable[str]) -> None:
    """Raise SpecError where a claim names an unknown method."""
    methods = set(names)
    for claim in ledger.claims:
        for name in {claim.method, claim.than} - {""}:
            _known(f"method (claim {claim.id})", name, methods)
