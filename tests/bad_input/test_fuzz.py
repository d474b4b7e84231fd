"""Whatever bytes a file holds, whatever text a setting is: a table or one AfdError, nothing else."""

import gzip
import json

from bad_files import GOOD
from hypothesis import HealthCheck, given, settings, strategies as st

from afd_study.errors import AfdError
from afd_study.study.spec import load_spec
from afd_study.worlds.normalising import ASSISTANT, HUMAN, normalised, visible
from afd_study.worlds.own_data import read_entries
from afd_study.worlds.reading import read_rows

BOUNDED = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
COLUMNS = ("prompt", "response")
PIECES = st.sampled_from(
    [
        HUMAN,
        ASSISTANT,
        "Human:",
        "Assistant:",
        *"\r\n \t\u200b\ufeff\u2060\x00\"',;|{}[]:\\",
        "\r\n",
        "prompt",
        "response",
        "null",
        "5",
        "é",
        "\ud83d",
        "\u2028",
    ]
)
TEXTS = st.lists(PIECES | st.text(max_size=5), max_size=12).map("".join)
BYTES = TEXTS.map(lambda text: text.encode("utf-8", "surrogatepass")) | st.binary(max_size=200)


def kept_is_whole(entries):
    """What is kept has a prompt that waits for an answer, and an answer without a turn that can be seen."""
    for entry in entries:
        assert bool(entry.prompt) != bool(entry.reason)
        if entry.prompt:
            assert entry.prompt.endswith(ASSISTANT) and entry.prompt.startswith(HUMAN)
            assert visible(entry.demonstration) and entry.demonstration == entry.demonstration.strip()
            assert HUMAN not in entry.demonstration and ASSISTANT not in entry.demonstration
            assert "\r" not in entry.prompt + entry.demonstration


@BOUNDED
@given(
    content=BYTES, name=st.sampled_from(["a.jsonl", "a.csv", "a.jsonl.gz", "a.csv.gz"]), head=st.booleans()
)
def test_any_bytes_are_rows_or_one_error(tmp_path, content, name, head):
    if head:
        start = "prompt,response\n" if ".csv" in name else GOOD[0] + "\n"
        content = start.encode() + content
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") and head else content)
    try:
        entries = list(read_entries(tmp_path / name, COLUMNS))
    except AfdError as error:
        assert name in str(error) and len(str(error)) < 2000
    else:
        kept_is_whole(entries)


@BOUNDED
@given(
    place=st.integers(0, 10_000), byte=st.integers(0, 255), name=st.sampled_from(["a.jsonl", "a.jsonl.gz"])
)
def test_a_flipped_byte_is_rows_or_one_error(tmp_path, place, byte, name):
    whole = "\n".join(GOOD).encode()
    content = bytearray(gzip.compress(whole, mtime=0) if name.endswith(".gz") else whole)
    content[place % len(content)] = byte
    (tmp_path / name).write_bytes(content)
    try:
        rows = list(read_rows(tmp_path / name, COLUMNS))
    except AfdError as error:
        assert name in str(error)
    else:
        assert len(rows) >= 59  # a byte can join two lines into none, or split one


@BOUNDED
@given(prompt=TEXTS, response=TEXTS)
def test_any_texts_are_kept_whole_or_dropped(tmp_path, prompt, response):
    row = {"prompt": prompt, "response": response}
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n")
    kept_is_whole(read_entries(tmp_path / "a.jsonl", COLUMNS))
    assert normalised(normalised(prompt)) == normalised(prompt)


KEYS = st.sampled_from(
    [
        "sft.steps",
        "sft.learning_rate",
        "world.response_column",
        "world.demonstrations",
        "world.prompts",
        "reward.kinds",
        "judge",
        "policies",
        "policy.config.n_embd",
        "sampling.stop",
        "policy.allow_download",
        "sft.patience",
        "matched_style",
        "world",
        "world.name",
    ]
) | st.text(max_size=12)
VALUES = (
    TEXTS
    | st.text(max_size=20)
    | st.integers().map(str)
    | st.floats().map(str)
    | st.recursive(
        st.sampled_from(["1", "010", "a", "null", "1:30", "-.inf", "0.5", "~"]),
        lambda inner: (
            st.lists(inner, max_size=3).map(lambda parts: f"[{', '.join(parts)}]")
            | st.dictionaries(st.sampled_from(["steps", "a"]), inner, max_size=2).map(
                lambda parts: f"{{{', '.join(f'{key}: {value}' for key, value in parts.items())}}}"
            )
        ),
        max_leaves=6,
    )
)


@settings(BOUNDED, max_examples=300)
@given(key=KEYS, value=VALUES)
def test_any_setting_is_a_spec_or_one_error(key, value):
    overrides = {"world.demonstrations": "d.csv", key: value}
    try:
        spec = load_spec("own_data", "smoke", overrides)
    except AfdError as error:
        assert len(str(error)) < 3000
        return
    if key in ("world.response_column", "world.demonstrations"):
        assert str(getattr(spec.world, key.removeprefix("world."))) in (value, str(spec.world.demonstrations))
    if key in ("sft.steps", "sft.learning_rate"):
        assert float(value) == getattr(spec.sft, key.removeprefix("sft."))
