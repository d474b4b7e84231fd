"""Which file a step could not read or write: libraries name the path, the reason, both or neither."""

import errno
from collections.abc import Iterable
from pathlib import Path

from afd_study.errors import StoreError
from afd_study.study.workflow.faults import memory_fault
from afd_study.study.workflow.manifests import Damage, check_files, read_manifest
from afd_study.study.workflow.store import unreadable, unwritable

_OF_WRITING = {errno.ENOSPC, errno.EFBIG, errno.EROFS, getattr(errno, "EDQUOT", errno.ENOSPC)}
_WORDS_OF_WRITING = ("No space left", "File too large", "quota exceeded", "Read-only file system")


def file_fault(fault: Exception, workspace: Path, inputs: Iterable[Path]) -> StoreError | None:
    """Return what to tell of a step's fault; None where it is none of the file system's.

    `inputs` are the folders of the artefacts that the step reads. Where the fault does not say what failed,
    they are read once more: what cannot be read is the reason, and else something could not be written.
    """
    if memory_fault(fault):
        return None  # told as such where the command ends
    named, number = getattr(fault, "filename", None), getattr(fault, "errno", None)
    text = f"{named or ''} {fault}"
    system = fault if isinstance(fault, OSError) else OSError(str(fault))
    if str(workspace) in text or number in _OF_WRITING or any(word in text for word in _WORDS_OF_WRITING):
        return unwritable(workspace, system)
    for folder in inputs:
        if reason := _unread(folder):
            return reason
    if named is not None:
        return StoreError(
            f"cannot read or write {named}: {system.strerror or fault}. Put it in place, with the right to "
            "use it, and run the command again; what was finished is kept"
        )
    if number is None and "os error" not in text:
        return None
    return unwritable(workspace, system)


def _unread(folder: Path) -> StoreError | None:
    try:
        check_files(folder, read_manifest(folder))
    except Damage as damage:
        return StoreError(
            f"the artefact in {folder} was damaged while a step read it ({damage}): run the command again, "
            "which computes it again"
        )
    except FileNotFoundError:
        return StoreError(
            f"the artefact in {folder} was removed while a step read it: run the command again, which "
            "computes it again"
        )
    except OSError as reason:
        return unreadable(folder, reason)
    return None
