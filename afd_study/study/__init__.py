"""What was run: specs, the store, and the pipeline that joins them.

Names are imported when they are first asked for: so the command `afd` can guard against interruptions before
it waits for pandas and the models.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from afd_study.study.chapters.chapter import open_chapter
    from afd_study.study.notebook_parameters import Between, check_parameters
    from afd_study.study.spec import profile_names, task_names
    from afd_study.study.study import Study, compare, open_settings, open_study

__all__ = [
    "Between",
    "Study",
    "check_parameters",
    "compare",
    "open_chapter",
    "open_settings",
    "open_study",
    "profile_names",
    "task_names",
]

_MODULES = {
    "chapters.chapter": ("open_chapter",),
    "notebook_parameters": ("Between", "check_parameters"),
    "spec": ("profile_names", "task_names"),
    "study": ("Study", "compare", "open_settings", "open_study"),
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
