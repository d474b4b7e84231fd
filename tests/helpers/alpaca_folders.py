"""Small folders in AlpacaEval's own layout, of made-up systems: texts, verdicts and what can be wrong."""

import json

import numpy as np

WORDS = "sun moon star cloud rain wind snow leaf tree river stone field lake hill road".split()


def record(number, answer, preference=2.0, **changes):
    whole = {
        "instruction": f"Question number {number}?",
        "output_1": f"The reference answers {number}.",
        "generator_1": "text_davinci_003",
        "dataset": "helpful_base" if number % 4 == 0 else "koala",
        "output_2": answer,
        "generator_2": "some name",
        "annotator": "alpaca_eval_gpt4",
        "preference": preference,
    }
    return whole | changes


def write_system(folder, name, records, annotator="alpaca_eval_gpt4"):
    """Write one system's file; a text goes into it as it is."""
    path = folder / "results" / name / annotator / "annotations.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(records if isinstance(records, str) else json.dumps(records), encoding="utf-8")
    return path


def write_systems(folder, counts, n_prompts=20):
    """Write systems of some names; `counts` maps a name to the number of words of its answers."""
    for place, (name, count) in enumerate(counts.items()):
        answers = [f"{name} {number} " + " ".join(WORDS[:count]) for number in range(n_prompts)]
        rows = [record(n, text, 1.0 + (n + place) % 2) for n, text in enumerate(answers)]
        write_system(folder, name, rows)
    return folder


def made_up(n_prompts=60, n_systems=20, seed=0, follow=1.0):
    """Return answers and verdicts as tables: an answer with more `good` words than its system's usual wins.

    `follow` is how far verdicts follow them, beside noise. Systems differ in quality and in length too.
    """
    import pandas as pd

    generator = np.random.default_rng(seed)
    answers, verdicts = [], []
    for system in range(n_systems):
        for prompt in range(n_prompts):
            good = int(generator.integers(0, 5))
            rest = generator.choice(WORDS, 6 + system)
            text = " ".join([*rest, *["good"] * good])
            answers.append((f"p{prompt:03}", f"s{system:02}", text))
            pull = follow * (good - 2) + 0.15 * (system - n_systems / 2) + generator.normal()
            verdicts.append((f"p{prompt:03}", f"s{system:02}", float(pull > 0)))
    columns = ["prompt_id", "system"]
    return pd.DataFrame(answers, columns=[*columns, "text"]), pd.DataFrame(
        verdicts, columns=[*columns, "value"]
    )
