"""A page on which a person compares picks with plain samples, blind: one HTML file, without any network.

The page holds pairs of texts in an order and on sides that a seed draws. It is a function of what it shows
alone, so nothing in it tells which side is the pick: that stands in the key, a file of its own. Texts are
untrusted. They are data of a JSON block, with invisible characters spelled out, and the page's script puts
them where no markup is read; its security policy lets nothing else run, and nothing be fetched.
"""

import base64
import hashlib
import html
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import NamedTuple

import numpy as np

from afd_study.align.blind_power import count_of, limits
from afd_study.align.labels import BlindKey, KeyPair
from afd_study.errors import DataError, SpecError, StoreError, visible

PAGE, KEY = "blind.html", "blind_key.json"
MOST_PAIRS = 50
LIMIT = 1000  # of a page: it is read and shown as a whole
LONGEST = 200_000  # characters of a text that are shown
POLICY = (
    "default-src 'none'; script-src '{script}'; style-src '{style}'; base-uri 'none'; form-action 'none'; "
    "require-trusted-types-for 'script'"
)
_ESCAPES = {ord(mark): f"\\u{ord(mark):04x}" for mark in "<>&"}


class BlindPair(NamedTuple):
    """A prompt, the response that the reward model ranks first, and a plain sample of the same policy."""

    prompt: str
    pick: str
    plain: str


class ShownPair(NamedTuple):
    """What the page shows of a pair, which says nothing of sides."""

    prompt: str
    first: str
    second: str


class BlindPage(NamedTuple):
    """The files that were written. `digest` is of what the page shows, and ties answers to it.

    `n_alike` pairs of equal texts and `n_repeated` of a prompt that stands there already were left off.
    """

    page: Path
    key: Path
    digest: str
    n_pairs: int
    n_alike: int
    n_repeated: int

    def line(self) -> str:
        """Return what was written, in one line."""
        left_off = (
            (self.n_alike, "pair", "of equal texts"),
            (self.n_repeated, "pair", "of a prompt that the page has"),
        )
        more = "".join(f", without {count_of(n, noun)} {which}" for n, noun, which in left_off if n)
        return (
            f"{self.page.name}: {count_of(self.n_pairs, 'pair')} to compare{more}; {self.key.name}: their key"
        )


def write_blind_page(
    out: Path, pairs: Sequence[BlindPair], *, seed: int, most_pairs: int = MOST_PAIRS
) -> BlindPage:
    """Write PAGE and KEY into the folder `out`: at most `most_pairs` pairs, drawn with their sides by `seed`.

    Equal pairs and seeds give equal bytes. Answers count as independent, so a prompt is shown once. Raises
    DataError where no pair is left, SpecError for a seed or a number of pairs that can't be, and StoreError
    where the files can't be written.
    """
    if seed < 0:
        raise SpecError(f"seed must be at least 0, got {seed}")
    if not 1 <= most_pairs <= LIMIT:
        raise SpecError(f"most_pairs must lie between 1 and {LIMIT:,}, got {most_pairs}; 50 take an hour")
    shown, key = _drawn(pairs, seed, most_pairs)
    text = page_of(shown)
    page = BlindPage(out / PAGE, out / KEY, key.page, len(shown), key.n_alike, key.n_repeated)
    # The key first: a page without one would be labelled for nothing
    _write(page.key, key.model_dump_json(indent=1) + "\n")
    _write(page.page, text)
    return page


def page_of(shown: Sequence[ShownPair]) -> str:
    """Return the page as a text of HTML, by what it shows and by nothing else."""
    folder = files("afd_study.align")
    template, style, script = (
        folder.joinpath(f"blind_page.{kind}").read_text(encoding="utf-8") for kind in ("html", "css", "js")
    )
    policy = POLICY.format(script=_policy_hash(script), style=_policy_hash(style))
    rows = [{"id": str(number), **pair._asdict()} for number, pair in enumerate(shown, start=1)]
    # A text is put in once, and what it holds is not read as a place of the template
    return Template(template).substitute(
        policy=policy,
        style=style,
        script=script,
        pairs=count_of(len(shown), "pair"),
        limits="\n".join(f"<p>{html.escape(each)}</p>" for each in limits(len(shown))),
        data=_json_block({"page": digest_of(shown), "pairs": rows}),
    )


def digest_of(shown: Sequence[ShownPair]) -> str:
    """Return 32 hex digits of what a page shows."""
    return hashlib.blake2b(json.dumps(shown).encode(), digest_size=16).hexdigest()


def _drawn(pairs: Sequence[BlindPair], seed: int, most_pairs: int) -> tuple[list[ShownPair], BlindKey]:
    """Draw the pairs that are shown, and the side of each pick by a fair coin of its own.

    Independent coins make the exact test exact, whatever a person's habit with sides. Texts take part in the
    draw, whichever is the pick, so that who has seen the key of one page does not know the next one's.
    """
    texts = [[pair.prompt, *sorted((pair.pick, pair.plain))] for pair in pairs]
    whole = hashlib.blake2b(json.dumps(texts).encode(), digest_size=8).digest()
    rng = np.random.default_rng([seed, int.from_bytes(whole, "big")])
    order, is_first = rng.permutation(len(pairs)), rng.random(len(pairs)) < 0.5
    shown: list[ShownPair] = []
    sides: list[KeyPair] = []
    prompts: set[str] = set()
    n_alike = n_repeated = 0
    for row in map(int, order):
        prompt, pick, plain = map(_shown_text, pairs[row])
        if len(shown) == most_pairs:
            break
        if pick.strip() == plain.strip():
            n_alike += 1
        elif prompt.strip() in prompts:
            n_repeated += 1
        else:
            prompts.add(prompt.strip())
            shown.append(ShownPair(prompt, pick, plain) if is_first[row] else ShownPair(prompt, plain, pick))
            side = "first" if is_first[row] else "second"
            sides.append(KeyPair(pair=str(len(shown)), pick=side, row=row))
    if not shown:
        raise DataError(
            f"none of {count_of(len(pairs), 'pair')} can be compared: {n_alike} have equal texts. Give more "
            "prompts, or samples that differ"
        )
    key = BlindKey(page=digest_of(shown), pairs=tuple(sides), n_alike=n_alike, n_repeated=n_repeated)
    return shown, key


def _shown_text(text: str) -> str:
    """Return a text with invisible characters spelled out, and cut if it is very long."""
    text = text.replace("\r\n", "\n")
    cut = f" [... {len(text) - LONGEST:,} more characters]" if len(text) > LONGEST else ""
    return visible(text[:LONGEST]) + cut


def _json_block(value: object) -> str:
    """Return JSON in ASCII that ends no script element and begins no comment."""
    return json.dumps(value, ensure_ascii=True).translate(_ESCAPES)


def _policy_hash(text: str) -> str:
    """Return what a security policy calls an inline script or style by."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _write(path: Path, text: str) -> None:
    """Write a file so that there is either the old one or the whole new one."""
    fresh = path.with_name(f"{path.name}.fresh")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_bytes(text.encode())
        os.replace(fresh, path)
    except OSError as fault:
        with suppress(OSError):
            fresh.unlink()
        raise StoreError(
            f"{path} can't be written ({fault.strerror or fault}): free space there, or name another folder"
        ) from fault
