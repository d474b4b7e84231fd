"""`python -m tests.load`: what large data, many draws and a full store take. `make load` runs all of it."""

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import measure  # noqa: E402  # after the path to it

PARTS = {
    "demonstrations": (100_000, 1_000_000),
    "draws": (50, 1000),
    "artefacts": (1000, 10_000),
    "one_row": (100_000, 1_000_000, 10_000_000, 100_000_000),
}


def main():
    """Print a line for each part and size, as soon as it is known."""
    options = argparse.ArgumentParser(prog="python -m tests.load", description=__doc__)
    options.add_argument("part", nargs="?", choices=PARTS, help="one part alone; all by default")
    options.add_argument("sizes", nargs="*", type=int)
    options.add_argument("--place", help="a folder with room for 5 GB")
    options = options.parse_args()
    print(f"{'':<34}{'size':>12}{'CPU s':>9}{'per 100,000':>13}{'s':>8}{'peak MB':>9}{'not in files':>14}")
    for part in [options.part] if options.part else PARTS:
        for size in options.sizes or PARTS[part]:
            with tempfile.TemporaryDirectory(dir=options.place) as folder:
                row = measure.apart(getattr(measure, part), Path(folder), size)
            each = row["cpu"] / size * 100_000
            print(
                f"{row['what']:<34}{size:>12,}{row['cpu']:>9.1f}{each:>13.2f}{row['seconds']:>8.0f}"
                f"{row['peak'] / 1e6:>9.0f}{row['private'] / 1e6:>14.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
