"""Durations and sizes as a dry run says them."""


def duration(seconds: float) -> str:
    """Return seconds, minutes or hours with their unit."""
    if seconds < 6000:
        return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def size(n: float) -> str:
    """Return bytes in MB or GB."""
    return f"{n / 1e9:.2f} GB" if n >= 1e8 else f"{n / 1e6:.0f} MB"
