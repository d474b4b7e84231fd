"""Tiny models of the paper's classes and HH-RLHF's layout, as their authors would have published them."""

import csv
import json

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GemmaConfig,
    GemmaForCausalLM,
    GemmaForSequenceClassification,
    GemmaTokenizer,
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    GPT2Tokenizer,
)

from afd_study.models.tokenizers import encode

WORDS = "how can I bake bread tell me about roses what is the way to paint a wall please explain".split()
GEMMA_SPECIALS = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]


def dialogues(folder, subset, *, train=48, test=5, seed=7):
    """Write pairs of dialogues in Anthropic's layout; in each file one prompt is far too long."""
    rng = np.random.default_rng(seed)
    (folder / subset).mkdir(parents=True)
    for split, n in (("train", train), ("test", test)):
        rows = []
        for number in range(n):
            words = rng.choice(WORDS, size=900 if number == 0 else 5)
            start = f"\n\nHuman: {split} {number} {' '.join(words)}\n\nAssistant:"
            good, bad = (" ".join(rng.choice(WORDS, size=size)) for size in (8, 4))
            rows.append({"chosen": f"{start} {good}", "rejected": f"{start} {bad}"})
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / subset / f"{split}.jsonl").write_text(text)
    return folder


def shown(folder, subset, path):
    """Write a CSV with another response to each prompt of `dialogues`, as a stronger model might give."""
    rows = [("query", "response")]
    for split in ("train", "test"):
        for line in (folder / subset / f"{split}.jsonl").read_text().splitlines():
            start, turn, _ = json.loads(line)["chosen"].rpartition("\n\nAssistant:")
            rows.append((start + turn, f"please bake bread {len(rows)}"))
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def texts(n=200, seed=1):
    """What a base model has read: dialogues that go on after an answer."""
    rng = np.random.default_rng(seed)
    turns = ("\n\nHuman:", "\n\nAssistant:")
    return [
        "".join(f"{turns[turn % 2]} {' '.join(rng.choice(WORDS, size=4))}" for turn in range(6))
        for _ in range(n)
    ]


def gpt2_tokenizer():
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab, merges = _merges(backend, trainers.BpeTrainer(vocab_size=320, initial_alphabet=alphabet))
    vocab["<|endoftext|>"] = len(vocab)
    return GPT2Tokenizer(vocab=vocab, merges=merges)


def gemma_tokenizer():
    """Spaces as a sign of their own, bytes for what the vocabulary lacks, a begin mark before every text."""
    backend = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never", split=False)
    backend.decoder = decoders.Metaspace(prepend_scheme="never")
    specials = [*GEMMA_SPECIALS, *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(
        vocab_size=330, special_tokens=specials, limit_alphabet=30, max_token_length=6
    )
    vocab, merges = _merges(backend, trainer)
    return GemmaTokenizer(vocab=vocab, merges=merges, add_bos_token=True)


def _merges(backend, trainer):
    trainer.show_progress = False
    backend.train_from_iterator(texts(), trainer)
    law = json.loads(backend.to_str())["model"]
    return law["vocab"], [tuple(pair) for pair in law["merges"]]


def gpt2_config(tokenizer, **more):
    end = tokenizer.eos_token_id
    return GPT2Config(
        vocab_size=len(tokenizer), n_embd=32, n_layer=1, n_head=2, bos_token_id=end, eos_token_id=end, **more
    )


def gemma_config(tokenizer, **more):
    return GemmaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        head_dim=16,
        num_key_value_heads=1,
        intermediate_size=64,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        **more,
    )


def policy(folder, *, gemma):
    """Write a causal model that has read `texts`, with its tokenizer."""
    tokenizer = gemma_tokenizer() if gemma else gpt2_tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        lm = GemmaForCausalLM(gemma_config(tokenizer)) if gemma else GPT2LMHeadModel(gpt2_config(tokenizer))
        stream = [number for text in texts(seed=2) for number in encode(tokenizer, [text])[0]]
        read = torch.tensor(stream[: len(stream) // 384 * 384]).view(-1, 8, 48)
        optimizer = torch.optim.Adam(lm.parameters(), lr=1e-2)
        for step in range(100):
            part = read[step % len(read)]
            lm(input_ids=part, labels=part).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    return _published(folder, lm, tokenizer)


def judge(folder, *, gemma):
    """Write a random classifier with one output, with its tokenizer."""
    tokenizer = gemma_tokenizer() if gemma else gpt2_tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        if gemma:
            model = GemmaForSequenceClassification(gemma_config(tokenizer, num_labels=1))
        else:
            model = GPT2ForSequenceClassification(gpt2_config(tokenizer, num_labels=1))
        torch.nn.init.normal_(model.score.weight)
    return _published(folder, model, tokenizer)


def _published(folder, model, tokenizer):
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
