"""Published models that steps will read: refused before anything is computed, if they can't be used."""

from collections.abc import Iterable
from functools import cache

from afd_study.models.specs import ClassifierSpec, ModelSpec
from afd_study.study.workflow.step import Step


def refuse_models(steps: Iterable[Step]) -> None:
    """Open what steps name as policy or judge. A judge is loaded whole, since its step is among the last.

    A policy's folder is looked through: its weights are loaded by the tokenizers' step, among the first.

    Raises HubError for a name that cannot be had, DataError for a damaged folder, SpecError for a model that
    does not fit.
    """
    values = [value for step in steps for value in step.settings.values()]
    for value in dict.fromkeys(value for value in values if isinstance(value, ClassifierSpec)):
        _open_judge(value)
    policies = [(v.name_or_path, v.allow_download) for v in values if isinstance(v, ModelSpec)]
    for name, download in dict.fromkeys(policies):
        if name is not None:
            _look_through(name, download)


@cache
def _open_judge(spec: ClassifierSpec) -> None:
    from afd_study.models.classifier_judge import opened_classifier  # seconds

    opened_classifier(spec)


def _look_through(name: str, download: bool) -> None:
    from afd_study.models.model_files import POLICY
    from afd_study.models.pretrained_folders import checked_place

    checked_place(POLICY, name, download=download)
