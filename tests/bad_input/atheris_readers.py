"""Coverage-guided fuzzing on demand: `python tests/bad_input/atheris_readers.py [--runs N] [TARGET]`.

atheris is none of the project's dependencies (`pip install atheris`; it needs Linux or macOS). What it finds
is a file of bytes, `crash-...`: give it as a further argument to see the traceback, and make it a case of the
corpus. hypothesis searches the same readers in every run of the tests (test_fuzz.py).
"""

import argparse
import sys
import tempfile
from pathlib import Path

try:
    import atheris
except ImportError:
    sys.exit("atheris is not installed: python -m pip install atheris. Nothing was tried.")

with atheris.instrument_imports(include=["afd_study", "yaml", "json", "csv"]):
    from afd_study.errors import AfdError
    from afd_study.evaluation.claims import load_ledger
    from afd_study.evaluation.llm_judge import replies
    from afd_study.plain_yaml import read_yaml
    from afd_study.study.spec import load_spec
    from afd_study.worlds.own_data import read_entries

FOLDER = Path(tempfile.mkdtemp())
COLUMNS = ("prompt", "response")


def rows(name):
    def read(data):
        (FOLDER / name).write_bytes(data)
        list(read_entries(FOLDER / name, COLUMNS))

    return read


def setting(data):
    key, _, value = data.decode("utf-8", "replace").partition("=")
    load_spec("own_data", "smoke", {"world.demonstrations": "d.csv", key or "sft.steps": value})


def reply(data):
    text = data.decode("utf-8", "replace")
    replies.filtered(text)
    try:
        replies.content(text)
    except ValueError:
        replies.unreadable(text)


TARGETS = {
    "jsonl": rows("a.jsonl"),
    "csv": rows("a.csv"),
    "gz": rows("a.jsonl.gz"),
    "setting": setting,
    "yaml": lambda data: read_yaml(data.decode("utf-8", "replace"), "a.yaml"),
    "ledger": lambda data: load_ledger.__wrapped__(data.decode("utf-8", "replace") or "-"),
    "reply": reply,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", nargs="?", choices=TARGETS, default="jsonl")
    parser.add_argument("found", nargs="*", help="files that an earlier search left")
    parser.add_argument("--runs", type=int, default=100_000)
    options = parser.parse_args()

    def one(data):
        try:
            TARGETS[options.target](data)
        except AfdError:
            pass  # one clear error: that is what bad input is to end in

    words = [sys.argv[0], f"-runs={options.runs}", "-max_len=4096", *options.found]
    atheris.Setup(words, one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
