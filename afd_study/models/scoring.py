"""The only place where logits are shifted by one and masked: log-probabilities of responses.

In a causal model no token sees what stands behind it, so padding on the right needs no attention mask, and
without a mask attention takes its faster causal path. Only the positions that predict a response token go
through the output embedding.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import GPT2Model, PreTrainedModel

from afd_study.errors import SpecError
from afd_study.models.batches import Batch, Example, Forks, in_batches
from afd_study.models.kernels import last_block, shared_prompt_scoring
from afd_study.models.kernels.shared_prefix import SharedPrefix


class TokenLogprobs(NamedTuple):
    """Log-probabilities (nats) of all response tokens of a batch, flat, and the row that each belongs to."""

    values: Tensor  # (tokens,)
    rows: Tensor  # (tokens,)

    def per_response(self, n: int) -> Tensor:
        """Sum over the tokens of each of the batch's `n` responses: shape (n,), float64."""
        total = torch.zeros(n, dtype=torch.float64, device=self.values.device)
        return total.index_add(0, self.rows, self.values.double())


def output_logits(lm: PreTrainedModel, hidden: Tensor) -> Tensor:
    """Return next-token logits (..., vocabulary) in float32 for final hidden states (..., width).

    What a model does behind its head is done here too: Gemma-2's soft cap is applied, and the ids that the
    generation config suppresses (padding and the unknown word, which no response may hold) are given -inf.
    """
    logits = lm.get_output_embeddings()(hidden).float()
    cap = getattr(lm.config.get_text_config(), "final_logit_softcapping", None)
    if cap is not None:
        logits = torch.tanh(logits / cap) * cap
    banned = lm.generation_config.suppress_tokens if lm.generation_config is not None else None
    if banned:
        with torch.no_grad():  # their gradient is 0 as it is
            logits.index_fill_(-1, torch.tensor(banned, device=logits.device), -torch.inf)
    return logits


def hidden_states(backbone: nn.Module, ids: Tensor) -> Tensor:
    """Return the last hidden states (batch, length, width) of right-padded `ids`."""
    return backbone(input_ids=ids, use_cache=False).last_hidden_state


def response_logprobs(lm: PreTrainedModel, batch: Batch) -> TokenLogprobs:
    """Return the log-probability of every response token given all that stands before it."""
    logits, chosen, rows = _at_responses(lm, batch)
    return TokenLogprobs(-cross_entropy(logits, chosen, reduction="none"), rows)


def response_laws(lm: PreTrainedModel, batch: Batch) -> tuple[Tensor, TokenLogprobs]:
    """Return the next-token law at each response token, (tokens, vocabulary), and that token's own value.

    The laws are log-probabilities (nats), -inf for what is suppressed. They serve for a KL or an entropy; to
    train on the tokens themselves `response_logprobs` is enough.
    """
    logits, chosen, rows = _at_responses(lm, batch)
    laws = logits.log_softmax(-1)
    return laws, TokenLogprobs(laws.gather(-1, chosen[:, None])[:, 0], rows)


def entropies(lm: PreTrainedModel, batch: Batch) -> Tensor:
    """Return each response's sum, over its prefixes, of the next token's entropy: (batch,), nats, float64.

    Its mean over a policy's own responses is the entropy of its law of responses, by the chain rule.
    """
    laws, chosen = response_laws(lm, batch)
    steps = torch.special.entr(laws.double().exp()).sum(-1)
    return TokenLogprobs(steps, chosen.rows).per_response(len(batch.ids))


def _at_responses(lm: PreTrainedModel, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Return logits (tokens, vocabulary) where a response token is predicted, that token, and its row."""
    places = torch.arange(batch.ids.shape[1], device=batch.ids.device)
    predicts = (places >= batch.starts[:, None] - 1) & (places < batch.lengths[:, None] - 1)
    backbone = backbone_of(lm)
    if last_block.supports(backbone):
        hidden = last_block.response_states(backbone, batch, predicts)
    else:
        hidden = hidden_states(backbone, batch.ids)[predicts]
    rows, at = predicts.nonzero(as_tuple=True)
    return output_logits(lm, hidden), batch.ids[rows, at + 1], rows


def in_parts(
    batch: Batch, run: Callable[[Batch], tuple[TokenLogprobs, Tensor]], parts: int = 4
) -> tuple[TokenLogprobs, Tensor]:
    """Return what `run` returns of a batch, token log-probabilities and (batch,) numbers, cut into `parts`.

    A part holds responses of similar length. A policy's own responses differ so much in length that in one
    batch a third of the tokens would be padding. Tokens come back in the order of the batch.
    """
    places = batch.lengths.argsort(stable=True).chunk(parts)
    logprobs, numbers = zip(*(run(batch.rows(each)) for each in places), strict=True)
    rows = torch.cat([each[part.rows] for each, part in zip(places, logprobs, strict=True)])
    order = rows.argsort(stable=True)
    values = torch.cat([part.values for part in logprobs])
    return TokenLogprobs(values[order], rows[order]), torch.cat(numbers)[torch.cat(places).argsort()]


def last_hidden(backbone: nn.Module, batch: Batch | Forks) -> Tensor:
    """Return the hidden state (batch, width) at the last token of each response."""
    if isinstance(batch, Forks):
        assert isinstance(backbone, GPT2Model)  # forks are made for models that `last_block` supports
        return last_block.forked_states(backbone, batch)
    if last_block.supports(backbone):
        return last_block.last_states(backbone, batch.ids, batch.lengths - 1)
    rows = torch.arange(len(batch.ids), device=batch.ids.device)
    return hidden_states(backbone, batch.ids)[rows, batch.lengths - 1]


def backbone_of(lm: PreTrainedModel) -> PreTrainedModel:
    """Return a model without its head."""
    backbone = lm.base_model
    assert isinstance(backbone, PreTrainedModel)
    return backbone


def input_embedding(lm: PreTrainedModel) -> nn.Embedding:
    """Return the layer that turns ids into states."""
    embedding = lm.get_input_embeddings()
    assert isinstance(embedding, nn.Embedding)
    return embedding


@torch.no_grad()
def refuse_unfit(lm: PreTrainedModel) -> None:
    """Raise SpecError for a model whose log-probabilities this module would get wrong; six tokens are tried.

    Such a model reads what comes later (an encoder such as BERT), or does more behind its head than
    `output_logits` does.
    """
    lm.eval()
    ids = torch.arange(6, device=lm.device)[None] % lm.config.get_text_config().vocab_size
    logits = lm(input_ids=ids, use_cache=False).logits.float()
    earlier = lm(input_ids=ids[:, :3], use_cache=False).logits.float()
    own = output_logits(lm, hidden_states(lm.base_model, ids))
    slack = (1e-3 if lm.dtype == torch.float32 else 3e-2) * logits.abs().max()  # bf16 keeps two digits
    if (logits[:, :3] - earlier).abs().max() > slack:
        raise SpecError(f"{type(lm).__name__} reads what comes later: take a causal language model")
    if (logits - own)[own.isfinite()].abs().max() > slack:
        raise SpecError(
            f"{type(lm).__name__} changes its logits behind the output embedding in a way that is not known "
            "here: add it to models/scoring.py, output_logits"
        )


@torch.no_grad()
def response_kl(
    lm: PreTrainedModel, reference: PreTrainedModel, examples: Sequence[Example], *, max_tokens: int = 4096
) -> np.ndarray:
    """Return KL(lm || reference) along each response, shape (examples,), in nats, with dropout off.

    It is the sum, over the response's prefixes, of the KL between the two next-token laws. Averaged over
    samples of `lm` it estimates the KL between the laws of whole responses, with far less variance than the
    log ratio of the sampled responses does.
    """
    lm.eval()
    reference.eval()

    def run(batch: Batch) -> Tensor:
        own, chosen = response_laws(lm, batch)
        other, _ = response_laws(reference, batch)
        own, other = own.double(), other.double()
        gaps = torch.where(own > -torch.inf, own.exp() * (own - other), 0.0)
        return TokenLogprobs(gaps.sum(-1), chosen.rows).per_response(len(batch.ids))

    return in_batches(examples, run, max_tokens=max_tokens, device=lm.device)


@torch.no_grad()
def sequence_logprobs(
    lm: PreTrainedModel, examples: Sequence[Example], *, max_tokens: int = 4096
) -> np.ndarray:
    """Return the log-probability (nats) of each whole response, shape (examples,), with dropout off."""
    lm.eval()
    if shared_prompt_scoring.is_faster(lm, examples):
        run = partial(_logprobs_behind, lm)
        return shared_prompt_scoring.behind_prompts(lm, examples, run, max_tokens=max_tokens)
    return in_batches(
        examples,
        lambda batch: response_logprobs(lm, batch).per_response(len(batch.ids)),
        max_tokens=max_tokens,
        device=lm.device,
    )


def _logprobs_behind(lm: PreTrainedModel, prefix: SharedPrefix, batch: Batch) -> Tensor:
    """Return the log-probability (nats) of each response, (rows,), behind prompts that have been read."""
    rows, tokens = batch.ids.shape
    hidden = prefix.last.repeat_interleave(rows // len(prefix.last), 0)[:, None]
    if tokens > 1:
        hidden = torch.cat([hidden, prefix.read(lm, batch.ids[:, :-1])], 1)
    real = torch.arange(tokens, device=batch.ids.device) < batch.lengths[:, None]  # no padding
    values = -cross_entropy(output_logits(lm, hidden[real]), batch.ids[real], reduction="none")
    return TokenLogprobs(values, real.nonzero()[:, 0]).per_response(rows)
