"""Best-of-N with your own model and demonstrations: of N samples of pi_SFT, the best by Init-SFT's reward.

Init-SFT learns a reward from samples alone: those of the fine-tuned policy, pi_SFT, are to score higher than
those of the model before it, pi_init (arXiv 2405.15624). Code that lies beside a model is never run.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from afd_study.methods import best_of_n, reward_data, reward_model, reward_pairs, sft
from afd_study.models import decoding, policy, reward, specs, stop_strings, tokenizers
from afd_study.study.steps.encoding import TRAINED_ON, encoded_prompts, examples_from, paired_examples
from afd_study.worlds import normalising, own_data


def draw(lm: policy.PreTrainedModel, ids: Any, counts: "pd.Series[int]", **settings: Any) -> pd.DataFrame:
    """Draw `counts` responses to each prompt; `response` and `token_ids` both hold the ids."""
    requests = [decoding.Request(str(key), ids[key], i) for key, n in counts.items() for i in range(n)]
    drawn = decoding.sample(lm.to(policy.device()), requests, **settings)  # type: ignore[arg-type]
    rows = [(*request[::2], each.ids, each.ids) for request, each in zip(requests, drawn, strict=True)]
    return pd.DataFrame(rows, columns=["prompt_id", "draw", "response", "token_ids"])


def run(args: argparse.Namespace, folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return N samples of each prompt with their rewards, and the one of each prompt that is picked."""
    # 1. Data. Nothing is trained on prompts of the split `test`, nor on those without a demonstration.
    data = own_data.load(own_data.OwnDataSpec(demonstrations=args.demonstrations, prompts=args.prompts))
    prompts, counts = data.prompts, data.demonstrations.groupby("prompt_id").size()
    asked = prompts[(prompts["split"] == "test") | ~prompts["prompt_id"].isin(counts.index)]

    # 2. pi_init, the model as it is: one sample for each demonstration, to the same prompt.
    spec = specs.ModelSpec(name_or_path=args.model, allow_download=args.allow_download, dtype="float32")
    lm, tokenizer = policy.pretrained(spec)
    context, stop = policy.context_length(lm), stop_strings.Stop(tokenizer, [normalising.HUMAN])
    sampling = specs.SamplingSpec(max_new_tokens=args.length, max_prompt_tokens=context - args.length)
    settings: Any = {"eos_id": tokenizer.eos_token_id, "max_new_tokens": args.length, "stop": stop}
    texts = (prompts.set_index("prompt_id"), tokenizer, sampling)
    ids = encoded_prompts(prompts, tokenizer, sampling)
    samples = {"pi_init": draw(lm, ids, counts, seed=args.seed, **settings)}

    # 3. pi_SFT, the same model fine-tuned: again one sample for each demonstration, and N of each prompt.
    rows = examples_from(data.demonstrations, *texts, context=context)
    train, validation = (list(rows.loc[rows["split"] == name, "example"]) for name in TRAINED_ON)
    training = specs.TrainingSpec(steps=args.steps, batch_size=args.batch, learning_rate=args.rate)
    common: Any = {"training": training, "seed": args.seed}
    lm, _ = sft.fine_tune(lm, train, validation=validation, workspace=folder / "sft", **common)
    samples["pi_sft"] = draw(lm, ids, counts, seed=args.seed + 1, **settings)
    pool = draw(lm, ids, pd.Series(args.n, asked["prompt_id"]), seed=args.seed + 2, **settings)

    # 4. The reward model, on pi_SFT's body: of each pair the sample of pi_SFT is to score high.
    choice, common["workspace"] = reward_data.REWARD_DATA["init_sft"], folder / "reward"
    rows = reward_pairs.paired_responses(choice, samples, data.demonstrations)
    pairs, split = paired_examples(rows, ("high", "low"), *texts, context=context)
    fit_on, held_out = ([pairs[i] for i in (split == name).nonzero()[0]] for name in TRAINED_ON)
    model = reward.on_backbone(lm, tokenizer)
    model, _ = reward_model.fit(model, fit_on, validation=held_out, loss=choice.loss, **common)

    # 5. Best-of-N: score all N samples, and keep the best of each prompt.
    pool["reward"] = reward.rewards(model, list(examples_from(pool, *texts, context=context)["example"]))
    pool["response"] = tokenizers.decode(tokenizer, list(pool["token_ids"]))
    picks = best_of_n.picks(pool.assign(source="pi_sft", scorer="init_sft"), args.n)
    return pool, picks.merge(pool).merge(prompts)[["prompt_id", "text", "draw", "response", "reward"]]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="a folder, or a name on the hub with --allow-download")
    parser.add_argument("--demonstrations", type=Path, required=True, help="JSONL or CSV: prompt, response")
    parser.add_argument("--prompts", type=Path, help="further prompts to pick for; JSONL or CSV: prompt")
    parser.add_argument("--out", type=Path, default=Path("picks.jsonl"))
    parser.add_argument("--allow-download", action="store_true")
    for name, value in {"n": 16, "steps": 200, "batch": 8, "rate": 5e-5, "length": 128, "seed": 0}.items():
        parser.add_argument(f"--{name}", type=type(value), default=value)
    args = parser.parse_args()
    with TemporaryDirectory() as folder:
        picks = run(args, Path(folder))[1]
    picks.to_json(args.out, orient="records", lines=True, force_ascii=False)
    print(args.out.read_text(encoding="utf-8"))
