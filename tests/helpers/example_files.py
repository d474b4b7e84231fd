"""The same examples in every layout and format that `afd_study.align` reads."""

import csv
import json

import pyarrow as pa
import pyarrow.parquet as pq

DIALOGUES = [
    [("user", "Why is the sky blue?"), ("assistant", "Air scatters blue light.\n\nMore than red.")],
    [("user", "Hi, ünï\u2028cödé"), ("assistant", "Hello."), ("user", "And?"), ("assistant", "Good, 2.")],
    [("user", 'Say "a, b"'), ("assistant", "a, b")],
]
FURTHER = [("user", "Question {n}?"), ("assistant", "Answer {n}.")]
FORMATS = ("jsonl", "json", "csv", "parquet")


def dialogues(n=12):
    more = [[(role, text.format(n=i)) for role, text in FURTHER] for i in range(n - len(DIALOGUES))]
    return [*DIALOGUES, *more]


def hh(turns, ends=""):
    names = {"user": "Human", "assistant": "Assistant"}
    return "".join(f"\n\n{names[role]}: {text}" for role, text in turns) + ends


def messages(turns):
    return [{"role": role, "content": text} for role, text in turns]


def prompt_text(turns):
    """A plain question where there is one, and else a dialogue that waits for an answer."""
    return turns[0][1] if len(turns) == 2 else hh(turns[:-1], "\n\nAssistant:")


LAYOUTS = {
    "prompt_response": lambda turns: {"prompt": prompt_text(turns), "response": turns[-1][1]},
    "prompt_completion": lambda turns: {"prompt": prompt_text(turns), "completion": f" {turns[-1][1]}"},
    "prompt_completion of messages": lambda turns: {
        "prompt": messages(turns[:-1]),
        "completion": messages(turns[-1:]),
    },
    "alpaca": lambda turns: {"instruction": prompt_text(turns), "input": "", "output": turns[-1][1]},
    "alpaca_eval": lambda turns: {
        "instruction": prompt_text(turns),
        "output_1": "",
        "output_2": turns[-1][1],
    },
    "messages": lambda turns: {"messages": messages(turns)},
    "sharegpt": lambda turns: {
        "conversations": [
            {"from": {"user": "human", "assistant": "gpt"}[role], "value": text} for role, text in turns
        ]
    },
    "chosen_rejected": lambda turns: {
        "chosen": hh(turns),
        "rejected": hh([*turns[:-1], ("assistant", "No.")]),
    },
    "chosen_rejected of messages": lambda turns: {
        "chosen": messages(turns),
        "rejected": messages([*turns[:-1], ("assistant", "No.")]),
    },
    "prompt_chosen_rejected": lambda turns: {
        "prompt": prompt_text(turns),
        "chosen": turns[-1][1],
        "rejected": "No.",
    },
    "prompt_chosen_rejected of messages": lambda turns: {
        "prompt": messages(turns[:-1]),
        "chosen": messages(turns[-1:]),
        "rejected": messages([("assistant", "No.")]),
    },
    "prompt_chosen_rejected of whole messages": lambda turns: {
        "prompt": turns[0][1],
        "chosen": messages(turns),
        "rejected": messages([*turns[:-1], ("assistant", "No.")]),
    },
    "prompt_preferred_rejected": lambda turns: {
        "prompt": prompt_text(turns),
        "preferred": turns[-1][1],
        "rejected": "No.",
    },
}
"""Title, which begins with a layout's name -> a dialogue's turns to a row of it."""


def write(path, rows):
    """Write rows in the format that the path's name shows."""
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows, indent=1, ensure_ascii=False))
    elif path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file)
            table.writerow(rows[0])
            for row in rows:
                table.writerow([cell if isinstance(cell, str) else json.dumps(cell) for cell in row.values()])
    return path


def source(path, texts, *, prompts=None, **more):
    """Write JSONL of prompt and response."""
    prompts = prompts or [f"question {number}" for number in range(len(texts))]
    pairs = zip(prompts, texts, strict=True)
    return write(path, [{"prompt": prompt, "response": text, **more} for prompt, text in pairs])
