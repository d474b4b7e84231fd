"""Where a response ends besides at its end mark: at a text, such as the next speaker's turn.

A tokenizer may spell a text in many ways, so it is looked for in what the tokens say. A response is then cut
before it and given the end mark, so that whoever reads it cannot tell in which of the two ways it ended.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from afd_study.errors import SpecError
from afd_study.models.batches import Example
from afd_study.models.scoring import sequence_logprobs
from afd_study.models.tokenizers import decode


class Stop:
    """Texts that end a response, as a tokenizer's ids spell them."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> None:
        """Take the texts; SpecError for an empty one, which every response holds."""
        if not all(texts):
            raise SpecError("an empty text cannot end a response: leave it out of stop")
        self.tokenizer, self.texts = tokenizer, tuple(texts)
        self.reach = max(len(text.encode()) for text in texts) + 1  # tokens: each of a text's holds a byte
        self.completes = torch.tensor(_completing(tokenizer, {text[-1] for text in texts}))

    def met(self, drawn: Tensor, rows: Tensor, live: Tensor) -> Tensor:
        """Tell which rows have just completed a stop text: (rows,), bool.

        `drawn` (responses, tokens) holds what was drawn of every response so far, `rows` (rows,) which of
        them each row is, and `live` (rows,) which rows count.
        """
        self.completes = self.completes.to(drawn.device)
        found = torch.zeros_like(live)
        last = drawn[rows, -1].clamp(max=len(self.completes) - 1)
        places = (live & self.completes[last]).nonzero()[:, 0]  # few: the rest need not be read
        texts = decode(self.tokenizer, drawn[rows[places], -self.reach :].tolist())
        found[places] = torch.tensor([self._place(text) >= 0 for text in texts], device=found.device).bool()
        return found

    def cut(
        self, lm: PreTrainedModel, prompts: Sequence[tuple[int, ...]], responses: Sequence[tuple[int, ...]],
        eos_id: int,
    ) -> Mapping[int, tuple[tuple[int, ...], float]]:  # fmt: skip
        """Return, by row, the responses that hold a stop text, cut before it and ended, with log-probability.

        That is the policy's own of these ids (nats): what it gives the text and the end mark there, and
        not the way in which it went on to the stop text.
        """
        kept = {}
        for row, (ids, text) in enumerate(zip(responses, decode(self.tokenizer, responses), strict=True)):
            if self._place(text) >= 0:
                kept[row] = (*self._before(ids, text[: self._place(text)]), eos_id)
        examples = [Example((*prompts[row], *ids), len(prompts[row])) for row, ids in kept.items()]
        values = sequence_logprobs(lm, examples) if examples else np.empty(0)
        return {row: (ids, float(value)) for (row, ids), value in zip(kept.items(), values, strict=True)}

    def _place(self, text: str) -> int:
        """Return where the first stop text begins, -1 where there is none."""
        return min((place for place in map(text.find, self.texts) if place >= 0), default=-1)

    def _before(self, ids: tuple[int, ...], text: str) -> tuple[int, ...]:
        """Return the most ids that say no more than `text`: a token that reaches beyond it goes whole."""
        n = len(ids)  # from the end: a response seldom goes on behind the text that ends it
        while not text.startswith(decode(self.tokenizer, [ids[:n]])[0]):
            n -= 1
        return ids[:n]


def _completing(tokenizer: PreTrainedTokenizerBase, last: set[str]) -> list[bool]:
    """Tell for each id, and for all beyond, whether its token may hold one of the characters `last`.

    Vocabularies write printable ASCII as it is, or as a byte such as <0x6E>; other characters in ways of
    their own, and then every token may.
    """
    if not all(character.isascii() and character.isprintable() and character != " " for character in last):
        return [True] * (len(tokenizer) + 1)
    pieces = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    signs = (*last, "<0x")
    return [any(sign in (piece or "") for sign in signs) for piece in pieces] + [True]
