"""One switch for all kernels. Off, models read, draw and train exactly as transformers has them."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_on: ContextVar[bool] = ContextVar("whether kernels may be used", default=True)


def enabled() -> bool:
    """Tell whether kernels may be used here; each of them asks before it does anything."""
    return _on.get()


@contextmanager
def disabled() -> Iterator[None]:
    """Do without all kernels for a while, in this thread.

    Models made or loaded meanwhile get none, and those that have some do not use them. The switch is not
    passed on to other processes: a study that is run under it takes `jobs=1`. No setting and no environment
    variable throws it, so that no result can depend on it: it is here for tests and for timing.
    """
    token = _on.set(False)
    try:
        yield
    finally:
        _on.reset(token)
