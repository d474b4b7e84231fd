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
from afd_study.models.prompt_tables import Ids
from afd_study.models.scoring import sequence_logprobs
from afd_study.models.tokenizers import decode


class Stop:
    """Texts that end a response, looked for in what a tokenizer's ids say."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> None:
        """Take the texts; SpecError for an empty one, which every response holds."""
        if not all(texts):
            raise SpecError("an empty text cannot end a response: leave it out of stop")
        self.tokenizer, self.texts = tokenizer, tuple(texts)
        self.reach = max(len(text.encode()) for text in texts) + 1  # tokens: each of a text's holds a byte
        self.completes = torch.tensor(_completing(tokenizer, {text[-1] for text in texts}))

    def met(self, written: Tensor, rows: Tensor, live: Tensor) -> Tensor:
        """Tell which rows have just completed a stop text: (rows,), bool.

        `written` (responses, tokens) holds what has been written of every response, `rows` (rows,) says
        which response each row is, and `live` (rows,) which rows count.
        """
        self.completes = self.completes.to(written.device)
        stopped = torch.zeros_like(live)
        last = written[rows, -1].clamp(max=len(self.completes) - 1)
        places = (live & self.completes[last]).nonzero()[:, 0]  # few rows: only these have to be decoded
        texts = decode(self.tokenizer, written[rows[places], -self.reach :].tolist())
        holds = [self._place(text) >= 0 for text in texts]
        stopped[places] = torch.tensor(holds, device=stopped.device).bool()
        return stopped

    def cut(
        self, lm: PreTrainedModel, prompts: Sequence[Ids], responses: Sequence[Ids], eos_id: int
    ) -> Mapping[int, tuple[Ids, float]]:
        """Return, by row, the responses that hold a stop text, cut before it and ended, with log-probability.

        The log-probability (nats) is the policy's own of these ids: of the text that is left and of the end
        mark behind it, and not of the way in which the policy went on to the stop text.
        """
        shorter = {}
        for row, (ids, text) in enumerate(zip(responses, decode(self.tokenizer, responses), strict=True)):
            if self._place(text) >= 0:
                shorter[row] = (*self._before(ids, text[: self._place(text)]), eos_id)
        examples = [Example((*prompts[row], *ids), len(prompts[row])) for row, ids in shorter.items()]
        values = sequence_logprobs(lm, examples) if examples else np.empty(0)
        return {row: (ids, float(value)) for (row, ids), value in zip(shorter.items(), values, strict=True)}

    def _place(self, text: str) -> int:
        """Return where the first stop text begins, -1 where there is none."""
        return min((place for place in map(text.find, self.texts) if place >= 0), default=-1)

    def _before(self, ids: Ids, text: str) -> Ids:
        """Return the longest beginning of `ids` that says no more than `text`."""
        n = len(ids)  # counted down: a response seldom goes on for long behind its stop text
        while not text.startswith(decode(self.tokenizer, [ids[:n]])[0]):
            n -= 1
        return ids[:n]


def _completing(tokenizer: PreTrainedTokenizerBase, last: set[str]) -> list[bool]:
    """Tell for each id, and for all beyond, whether its token may hold one of the characters `last`.

    Vocabularies write printable ASCII as it is, or as a byte such as <0x6E>. Other characters they write in
    many ways, so with one of these every token may hold it.
    """
    if not all(character.isascii() and character.isprintable() and character != " " for character in last):
        return [True] * (len(tokenizer) + 1)
    pieces = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    signs = (*last, "<0x")
    return [any(sign in (piece or "") for sign in signs) for piece in pieces] + [True]
