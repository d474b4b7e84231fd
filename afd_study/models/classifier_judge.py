"""A judge by name or path: a sequence-classification model that scores a prompt with its response.

Such models read their score at the last token that is not padding, which they find by the padding's id. Here
padding has an id that no text holds, stands on the right and is masked. So a score depends neither on the
batch nor on padding. Prompt and response are encoded separately and joined as ids, with the special tokens
that the judge's own tokenizer puts around a text (and between two texts, if it is an encoder's).

Where the tokenizer has a chat template, the judge was trained on chats laid out by it: the prompt's turns and
the response are laid out in the same way (`chat_layout`).
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from afd_study.errors import DataError, SpecError, unknown_name
from afd_study.models.batches import Batch, Example, in_batches
from afd_study.models.chat_layout import Frame, as_chats
from afd_study.models.model_files import JUDGE
from afd_study.models.policy import context_length, device
from afd_study.models.pretrained_folders import load_published, with_rows
from afd_study.models.scoring import input_embedding
from afd_study.models.specs import ClassifierSpec
from afd_study.models.tokenizers import encode

PROBE = "a"  # any text: what stands around its ids are the special tokens


class Classifier(NamedTuple):
    """A loaded judge: the score is output `column`."""

    spec: ClassifierSpec
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    frame: Frame
    column: int


class Judged(NamedTuple):
    """Rewards, which texts were longer than `max_tokens` and lost their beginning, tokens read: (n,) each."""

    rewards: NDArray[np.float64]
    cut: NDArray[np.bool_]
    tokens: NDArray[np.int64]


def load_classifier(spec: ClassifierSpec) -> Classifier:
    """Return `opened_classifier` on the fastest device at hand; raises what that raises."""
    judge = opened_classifier(spec)
    return judge._replace(model=judge.model.eval().to(device()))


def opened_classifier(spec: ClassifierSpec) -> Classifier:
    """Read a judge and its tokenizer from a local folder, or from the hub where `allow_download` is set.

    Only a whole folder is read (`pretrained_folders`). The model stays on the CPU.

    Raises HubError for a name that cannot be had, DataError for a folder that is damaged or lacks something
    (such as a trained classification head), and SpecError for a label that the judge does not have and for
    more tokens than it can read.
    """
    where = spec.name_or_path
    model, tokenizer = load_published(JUDGE, where, download=spec.allow_download, dtype="auto")
    if spec.max_tokens > context_length(model):
        raise SpecError(
            f"max_tokens={spec.max_tokens} is more than the {context_length(model)} that '{where}' can read"
        )
    _own_padding(model, tokenizer)
    return Classifier(spec, model, tokenizer, _frame(tokenizer), _column(model, spec))


def judge_texts(
    judge: Classifier, prompts: Sequence[str], responses: Sequence[str], *, max_batch_tokens: int = 16384
) -> Judged:
    """Score each response to its prompt, both (n,): rewards, cuts and tokens, (n,) each.

    A text of more than `max_tokens` loses its beginning, so that the response is kept. At most
    `max_batch_tokens` tokens, padding included, go through the model at once.

    Raises DataError for unequal numbers of texts, and for a row without any token; SpecError for a chat
    template that cannot be used.
    """
    if len(prompts) != len(responses):
        raise DataError(f"{len(prompts)} prompts and {len(responses)} responses: give one of each in a row")
    read = _as_chat if judge.tokenizer.chat_template else _as_text
    examples, cut = [], []
    for row, (frame, prompt, response) in enumerate(read(judge, prompts, responses)):
        room = judge.spec.max_tokens - len(frame.before) - len(frame.between) - len(frame.behind)
        if room < 1:
            raise SpecError(
                f"max_tokens={judge.spec.max_tokens} leaves no room within the judge's own tokens"
            )
        cut.append(len(prompt) + len(response) > room)
        tail = response[-room:]
        left = room - len(tail)
        head = (*frame.before, *(prompt[-left:] if left else ()), *frame.between)
        if not head and not tail:
            raise DataError(f"row {row} has neither prompt nor response; drop it")
        examples.append(Example((*head, *tail, *frame.behind), len(head)))
    values = in_batches(
        examples, lambda batch: _scores(judge, batch), max_tokens=max_batch_tokens, device=judge.model.device
    )
    lengths = np.array([len(example.ids) for example in examples], dtype=np.int64)
    return Judged(values, np.array(cut, dtype=bool), lengths)


def _as_text(
    judge: Classifier, prompts: Sequence[str], responses: Sequence[str]
) -> Iterator[tuple[Frame, list[int], list[int]]]:
    """Return each row's frame, prompt and response, as ids: the texts as they are."""
    encoded = zip(encode(judge.tokenizer, prompts), encode(judge.tokenizer, responses), strict=True)
    return ((judge.frame, prompt, response) for prompt, response in encoded)


def _as_chat(
    judge: Classifier, prompts: Sequence[str], responses: Sequence[str]
) -> Iterator[tuple[Frame, list[int], list[int]]]:
    """Return the same of texts laid out by the tokenizer's chat template."""
    return as_chats(judge.tokenizer, prompts, responses)


@torch.no_grad()
def _scores(judge: Classifier, batch: Batch) -> Tensor:
    places = torch.arange(batch.ids.shape[1], device=batch.ids.device)
    real = places < batch.lengths[:, None]  # no padding
    inputs = {
        "input_ids": batch.ids.masked_fill(~real, judge.tokenizer.pad_token_id),
        "attention_mask": real.long(),
    }
    if getattr(judge.model.config, "type_vocab_size", 0) > 1:  # BERT marks the response by token types
        inputs["token_type_ids"] = ((places >= batch.starts[:, None]) & real).long()
    logits = judge.model(**inputs).logits.float()
    score = logits[:, judge.column]
    if judge.spec.score == "logit":
        return score
    others = [place for place in range(logits.shape[1]) if place != judge.column]
    return score - logits[:, others].logsumexp(-1)


def _own_padding(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Give padding an id that means nothing else, in tokenizer, embedding and config."""
    others = {tokenizer.eos_token_id, tokenizer.bos_token_id, tokenizer.unk_token_id}
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id in others:
        tokenizer.add_special_tokens({"pad_token": "<pad>"})
    if len(tokenizer) > len(input_embedding(model).weight):
        with_rows(model, len(tokenizer))
    for config in (model.config, model.config.get_text_config()):
        config.pad_token_id = tokenizer.pad_token_id


def _frame(tokenizer: PreTrainedTokenizerBase) -> Frame:
    """Find out what the tokenizer puts around one text, and between two if it has a separator."""
    (plain,) = encode(tokenizer, [PROBE])
    around = list(tokenizer(PROBE)["input_ids"])
    starts = [start for start in range(len(around)) if around[start : start + len(plain)] == plain]
    if not plain or not starts:
        raise SpecError(f"the judge's tokenizer ({type(tokenizer).__name__}) gives no ids to read a text by")
    before, behind = around[: starts[0]], around[starts[0] + len(plain) :]
    between: list[int] = []
    if tokenizer.sep_token_id is not None:
        two = list(tokenizer(PROBE, PROBE)["input_ids"])
        between = two[len(before) + len(plain) : len(two) - len(plain) - len(behind)]
    return Frame(tuple(before), tuple(between), tuple(behind))


def _column(model: PreTrainedModel, spec: ClassifierSpec) -> int:
    """Return which output is the score; SpecError if the spec does not say, or names no label."""
    labels = {str(name): int(place) for place, name in (model.config.id2label or {}).items()}
    if spec.label is not None and spec.label not in labels:
        raise unknown_name("label", spec.label, labels)
    if len(labels) == 1:
        if spec.score == "log_odds":
            raise SpecError(f"score=log_odds needs two labels, and '{spec.name_or_path}' has one: use logit")
        return 0
    if spec.label is None:
        raise SpecError(
            f"'{spec.name_or_path}' has {len(labels)} labels: set label to one of {sorted(labels)}"
        )
    return labels[spec.label]
