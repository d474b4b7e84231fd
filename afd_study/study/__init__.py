"""What was run: specs, the store, and the pipeline that joins them."""

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
