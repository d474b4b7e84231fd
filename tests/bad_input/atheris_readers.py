"""Coverage-guided fuzzing on demand: `python tests/bad_input/atheris_readers.py [--runs N] [TARGET]`.

atheris is none of the project's dependencies (`pip install atheris`; it needs Linux or macOS). What it finds
is a file of bytes, `crash-...`: give it as a further argument to see the traceback, and make it a case of the
corpus. hypothesis searches the same readers in every run of the tests (test_fuzz.py).
"""

import argparse
import gzip
import json
import sys
import tempfile
from importlib.resources import files
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
ROW = {"prompt": "Human: a\n\nAssistant:", "response": "b"}
LINES = json.dumps(ROW).encode() + b"\n" + json.dumps({"prompt": "c", "response": "d"}).encode() + b"\n"
REPLY = {"choices": [{"finish_reason": "stop", "message": {"content": "A"}}], "error": {"code": "safety"}}
SEEDS = {
    "jsonl": [LINES],
    "csv": [b'prompt,response\na,"b ""c"""\n', b"prompt;response\r\na;b\r\n"],
    "gz": [gzip.compress(LINES)],
    "setting": [b"sft.steps=10", b"reward.kinds=[init_sft]", b"policies={a: {steps: 10}}", b"judge=null"],
    "yaml": [b"a: &a [1, 0.5]\nb: {c: *a, d: 'x'}\n"],
    "ledger": [files("afd_study.evaluation").joinpath("claims.yaml").read_bytes()[:4096]],
    "reply": [json.dumps(REPLY).encode()],
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

    seeds = FOLDER / "seeds"
    seeds.mkdir()
    for number, seed in enumerate(SEEDS[options.target]):
        (seeds / str(number)).write_bytes(seed)
    words = [sys.argv[0], f"-runs={options.runs}", "-max_len=4096", *(options.found or [str(seeds)])]
    atheris.Setup(words, one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
