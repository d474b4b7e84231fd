"""Text to token ids and back, for policies and for those who read them.

Two tokenizers are made here, both plain `PreTrainedTokenizerFast` objects that save as JSON:

- `word_tokenizer`: one word, one token, for the controlled worlds. Text and ids determine each other, so that
  the demonstrator's law over texts *is* a law over token sequences.
- `train_bpe`: byte-level byte-pair encoding for real text (Sennrich et al. 2016, arXiv 1508.07909; over
  bytes as in GPT-2), which can write any string and so needs no unknown token.

Both give padding an id of its own: with pad = eos the last EOS is masked out of the loss. `encode` and
`decode` are the only doors: a "<eos>" typed in untrusted text never becomes the special token.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from afd_study.errors import DataError, SpecError, StoreError

PAD, EOS, UNK = "<pad>", "<eos>", "<unk>"

# A word may hold apostrophes and hyphens inside; every other visible character stands alone. "<unk>" is kept
# whole, so that what a policy emitted as one unknown word is read back as one.
_TOKEN = r"<unk>|\w+(?:['’\-]\w+)*|[^\w\s]"
_NO_SPACE_BEFORE = r"^ (?=[,.?!:;]$)"
_BYTES = 256
_AT_ONCE = 1000  # texts that a tokenizer reads at once: it takes some 100 bytes a token meanwhile
_LONGEST_RUN = 1000  # characters of one kind that a vocabulary learns from at once
_RUN = re.compile(
    "|".join(rf"(?:{kind}){{{_LONGEST_RUN}}}" for kind in (r"[^\W\d_]", r"\d", r"[^\w\s]|_", r"\s"))
)


def word_tokenizer(
    words: Iterable[str], *, marks: Iterable[str] = (), dropped: Iterable[str] = ()
) -> PreTrainedTokenizerFast:
    """Build a vocabulary's one-to-one tokenizer; its ids are <pad>, <eos>, <unk> (0, 1, 2), `words`, `marks`.

    Decoding joins tokens by single spaces, with none before , . ? ! : ; and for every sequence of ordinary
    tokens `encode(decode(ids)) == ids`. A word outside the vocabulary is <unk>.

    `marks` get the last ids, so that a reader with marks and a policy without them share all other ids.
    `dropped` are words that the tokenizer does not see: a text encodes as if they were not there.
    A policy's is `word_tokenizer(words, dropped=marks)`, its reader's `word_tokenizer(words, marks=marks)`.

    Raises SpecError for a word that is not one token, or that is given twice.
    """
    pieces = pre_tokenizers.Split(Regex(_TOKEN), "removed", invert=True)
    seen, unseen = [*words, *marks], list(dropped)
    _refuse_unfit(seen + unseen, pieces)
    vocabulary = {token: number for number, token in enumerate([PAD, EOS, UNK, *seen])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token=UNK))
    backend.pre_tokenizer = pre_tokenizers.Sequence([pieces, *_dropping(unseen)])
    # the prefix marks a token to be glued to the one before it: a line break, which no word can hold
    spaced = decoders.WordPiece(prefix="\n", cleanup=False)
    backend.decoder = decoders.Sequence([spaced, decoders.Replace(Regex(_NO_SPACE_BEFORE), "")])
    return fast_tokenizer(backend, unk_token=UNK)


def train_bpe(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE of at most `vocab_size` ids: <pad> 0, <eos> 1, the 256 bytes, then merges.

    The same texts give the same tokenizer, whatever their order. Any string survives encoding and decoding.
    Fewer ids come out where the texts have no further pair to merge.

    Raises SpecError where `vocab_size` cannot hold every byte, DataError where there is no text.
    """
    smallest = _BYTES + 2
    if vocab_size < smallest:
        raise SpecError(f"vocab_size={vocab_size} can't hold all bytes: use at least {smallest}")
    written = (text for text in texts if text)
    first = next(written, None)
    if first is None:
        raise DataError("there is no text to train a tokenizer on: give at least one that is not empty")
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[PAD, EOS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    pieces = (piece for text in chain([first], written) for piece in in_pieces(text))
    backend.train_from_iterator(pieces, trainer)
    return fast_tokenizer(backend)


def in_pieces(text: str) -> Iterator[str]:
    """Yield a text in pieces, so that no run of letters (or of digits, of signs, of spaces) is too long.

    A trainer's time grows with the square of a run. Chinese, Japanese and Thai write whole pages as one.
    """
    words, start = text.split(), 0
    spaces = len(text) - sum(map(len, words)) - len(words)  # beside one a word
    if max(map(len, words), default=0) >= _LONGEST_RUN or spaces >= _LONGEST_RUN - 2:
        for run in _RUN.finditer(text):
            yield text[start : run.end()]
            start = run.end()
    if start < len(text):
        yield text[start:]


def encode(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    """Return the token ids of each text, with no special token added and none read out of the text.

    Prompt and response are to be encoded apart and joined as ids: joined as strings, the token at the
    boundary would change.
    """
    ids: list[list[int]] = []
    for first in range(0, len(texts), _AT_ONCE):
        read = tokenizer(
            list(texts[first : first + _AT_ONCE]),
            add_special_tokens=False,
            split_special_tokens=True,
            padding=False,
            truncation=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,  # how long a text may be is the model's affair, and checked there
        )
        ids += read["input_ids"]
    return ids


def opening_ids(tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """Return what the tokenizer's authors put before every text: the begin mark, or nothing.

    A model that was trained with a begin mark (Gemma) writes little sense without it.
    """
    begin = tokenizer.bos_token_id
    return (begin,) if begin is not None and tokenizer("a")["input_ids"][:1] == [begin] else ()


def decode(tokenizer: PreTrainedTokenizerBase, token_ids: Sequence[Sequence[int]]) -> list[str]:
    """Return the text of each sequence without padding, EOS and BOS; <unk> stays, since it is a fault."""
    framing = {tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.bos_token_id}
    kept = [[int(number) for number in ids if int(number) not in framing] for ids in token_ids]
    return [str(tokenizer.decode(ids, clean_up_tokenization_spaces=False)) if ids else "" for ids in kept]


def fingerprint(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return 16 hex digits that tokenizers share if they encode alike and name special tokens alike."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if isinstance(backend, Tokenizer):
        law = json.loads(backend.to_str())
        # the last call's padding and truncation are left in there: they are no part of the tokenizer
        law = {part: value for part, value in law.items() if part not in ("padding", "truncation")}
    else:
        law = {"class": type(tokenizer).__name__, "vocabulary": tokenizer.get_vocab()}
    special = {role: str(token) for role, token in tokenizer.special_tokens_map.items()}
    text = json.dumps([law, special], sort_keys=True, ensure_ascii=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def save_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: str | Path) -> None:
    """Write the tokenizer to `folder` as plain JSON."""
    try:
        tokenizer.save_pretrained(str(folder))
    except OSError as fault:
        raise StoreError(f"the tokenizer can't be written to {folder}: {fault}") from fault


def load_tokenizer(folder: str | Path) -> PreTrainedTokenizerFast:
    """Read a tokenizer that `save_tokenizer` wrote; touches neither the network nor any code in the folder.

    Raises StoreError where the folder holds none or it is damaged.
    """
    if not (Path(folder) / "tokenizer.json").is_file():
        raise StoreError(f"{folder} holds no tokenizer: its file tokenizer.json is missing")
    try:
        return PreTrainedTokenizerFast.from_pretrained(str(folder), local_files_only=True)
    except Exception as fault:  # the Rust side raises bare Exception for a damaged file
        raise StoreError(
            f"the tokenizer in {folder} is damaged: {fault}; delete it to make it anew"
        ) from fault


def fast_tokenizer(backend: Tokenizer, **special: str) -> PreTrainedTokenizerFast:
    """Wrap a backend of the tokenizers library, with padding and end mark.

    Special tokens typed in a text are split into pieces even for callers that bypass `encode`.
    """
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token=PAD,
        eos_token=EOS,
        padding_side="right",
        clean_up_tokenization_spaces=False,
        split_special_tokens=True,
        **special,
    )


def _refuse_unfit(words: Sequence[str], pieces: pre_tokenizers.PreTokenizer) -> None:
    """Raise SpecError unless each word is one token, none of them special, and none is given twice."""
    for word in words:
        if word == UNK or [piece for piece, _ in pieces.pre_tokenize_str(word)] != [word]:
            raise SpecError(
                f"{word!r} is not one word: use letters and digits with apostrophes or hyphens inside, "
                "or a single punctuation character"
            )
    repeated = sorted(word for word, times in Counter(words).items() if times > 1)
    if repeated:
        raise SpecError(f"words given more than once, among words, marks and dropped: {repeated}")


def _dropping(words: Sequence[str]) -> list[pre_tokenizers.PreTokenizer]:
    """Return the step that removes whole tokens equal to one of `words`: none, or one."""
    if not words:
        return []
    escaped = ["".join(f"\\x{{{ord(character):x}}}" for character in word) for word in words]
    return [pre_tokenizers.Split(Regex(rf"\A(?:{'|'.join(escaped)})\z"), "removed")]
