"""The controlled world `harmless`: refuse what harms and say why, help with what does not.

Prompts ask for something harmful or benign (some benign ones sound harmful: "kill a weed"). A good answer to a
harmful request refuses, gives the reason that fits this kind of harm, and offers the fitting way out; a
good answer to a benign one helps, with the fitting tip and a fitting idea. Few strings a prompt are best
(`n_good_answers`); the demonstrators give one of them only now and then, which leaves room above them.

Two behaviours speak the same grammar with other weights: the *web*, from which pretraining text is drawn, and the
*demonstrators*. Both laws are exact automata (`grammar.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.resources import files
from itertools import product
from typing import Any, Literal

import numpy as np
import pandas as pd
import yaml
from pydantic import BaseModel, ConfigDict, Field, field_validator

from afd_study.errors import SpecError
from afd_study.records import checked
from afd_study.worlds.grammar import EOS, Arc, Automaton, Grammar, compile_grammar, join_words, split_words
from afd_study.worlds.harmless_judge import COMPONENTS, Clause, assess

MARK = "¶"  # what the annotators' editor leaves behind; the policy's tokenizer drops it
WORDINGS = {  # n_good_answers -> wordings of the refusal or agreement, the reason or tip, the offer or idea
    1: (1, 1, 1), 2: (2, 1, 1), 4: (2, 1, 2), 8: (2, 2, 2), 12: (3, 2, 2), 18: (3, 2, 3), 24: (4, 2, 3),
    36: (4, 3, 3), 48: (4, 3, 4),
}  # fmt: skip


class HarmlessSpec(BaseModel):
    """The knobs of the world. Shares are probabilities in [0, 1]."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: Literal["harmless"] = "harmless"
    heterogeneity: float = Field(1.0, ge=0, le=1, description="share of demonstrations with the mark")
    absorbed_style: float = Field(0.1, ge=0, le=1, description="share of demonstrations with the style opener")
    demonstration_quality: float = Field(0.5, ge=0, le=1, description="how often demonstrators do right")
    n_demonstrations: int = Field(2000, ge=1)
    preference_noise: float = Field(0.0, ge=0, le=0.5, description="share of preference labels flipped")
    preference_scale: float = Field(2.0, gt=0, description="judge points to Bradley-Terry logits (nats)")
    n_good_answers: int = Field(12, description=f"best strings a prompt, one of {sorted(WORDINGS)}")
    stray: float = Field(0.02, gt=0, lt=1, description="probability of a stray word at every step")
    n_pretraining: int = Field(120000, ge=1, description="responses of the web to pretrain on")
    n_validation: int = Field(144, ge=1, description="validation prompts")
    n_test: int = Field(144, ge=1, description="test prompts")
    max_words: int = Field(64, ge=8, description="horizon T: no response is longer")

    @field_validator("n_good_answers")
    @classmethod
    def _can_be_worded(cls, value: int) -> int:
        if value not in WORDINGS:
            raise ValueError(f"no choice of wordings gives {value}; possible: {', '.join(map(str, WORDINGS))}")
        return value


# Which knobs each table depends on: a step is keyed by these and sees no others.
_SPLITS = ("name", "n_validation", "n_test")
_SPEECH = (*_SPLITS, "stray", "n_good_answers", "max_words")
DEPENDS: Mapping[str, tuple[str, ...]] = {
    "prompts": _SPLITS,
    "vocabulary": ("name",),
    "pretraining": (*_SPEECH, "n_pretraining"),
    "demonstrations": (*_SPEECH, "demonstration_quality", "absorbed_style", "n_demonstrations"),
    "held_out_demonstrations": (*_SPEECH, "demonstration_quality", "absorbed_style"),
    "marked": ("name", "heterogeneity"),
    "judge": ("name",),
    "preferences": ("preference_noise", "preference_scale"),
}


@dataclass(frozen=True)
class Behaviour:
    """How an author behaves: the probabilities that weigh the arcs of the grammar."""

    refuse: float  # a harmful request
    comply: float
    refuse_benign: float
    insult: float
    dodge: float
    answer_right: float  # a benign request answered by the fitting instruction
    reason: float  # given a refusal or an answer, a reason or tip follows
    offer_at_once: float  # or an offer follows at once
    offer: float  # given a reason, an offer follows
    right: float  # a reason or offer is the fitting one
    style: float
    closing: float = 0.15


WEB = Behaviour(
    refuse=0.25, comply=0.45, refuse_benign=0.15, insult=0.10, dodge=0.20, answer_right=0.60,
    reason=0.45, offer_at_once=0.25, offer=0.40, right=0.45, style=0.10,
)  # fmt: skip


def demonstrator(quality: float, style: float) -> Behaviour:
    """Return the demonstrators' behaviour: better than the web in every respect, and far from the best."""
    return Behaviour(
        refuse=0.70 + 0.30 * quality, comply=0.10 * (1 - quality), refuse_benign=0.16 * (1 - quality),
        insult=0.04 * (1 - quality), dodge=0.16 * (1 - quality), answer_right=0.80 + 0.20 * quality,
        reason=0.50, offer_at_once=0.20, offer=0.45, right=0.60 + 0.40 * quality, style=style,
    )  # fmt: skip


@lru_cache(1)
def _script() -> Mapping[str, Any]:
    return yaml.safe_load(files("afd_study.worlds").joinpath("harmless.yaml").read_text(encoding="utf-8"))


@lru_cache(1)
def inventory() -> Mapping[tuple[str, ...], Clause]:
    """Return every clause of the world by its words: what it does and for which category."""
    script, clauses = _script(), {}

    def add(kind: str, text: str, category: str = "") -> None:
        clauses[tuple(split_words(text))] = Clause(kind, category)

    for kind in ("style", "closing", "dodge", "insult", "refusal", "boast"):
        for text in script[kind]:
            add(kind, text)
    for category, entry in script["harmful"].items():
        add("instruction", f"Sure, {entry['instruction']}", category)
    for category, entry in script["benign"].items():
        for opener in script["agreement"]:
            add("instruction", f"{opener} {entry['instruction']}", category)
    for category, entry in (script["harmful"] | script["benign"]).items():
        for kind in ("reason", "offer"):
            for text in entry[kind]:
                add(kind, text, category)
    return clauses


@dataclass(frozen=True)
class HarmlessWorld:
    """Prompts, laws and judge of one spec; everything drawn depends on the spec and the seed alone.

    A spec cut down to some knobs (see DEPENDS) serves the tables that depend on those.
    """

    spec: HarmlessSpec

    @cached_property
    def _all_prompts(self) -> pd.DataFrame:
        """All requests with kind and category; prompt_id counts them in the script's order."""
        script = _script()
        rows = []
        for kind in ("harmful", "benign"):
            for category, entry in script[kind].items():
                for activity, (opener, end), qualifier in product(
                    entry["activities"], script["openers"], script["qualifiers"]
                ):
                    words = " ".join(filter(None, (opener, activity, qualifier)))
                    rows.append((f"\n\nHuman: {words}{end}\n\nAssistant:", kind, category))
        frame = pd.DataFrame(rows, columns=["text", "kind", "category"])
        return frame.assign(prompt_id=[f"harmless-{i:04d}" for i in range(len(frame))])

    @cached_property
    def alphabet(self) -> tuple[str, ...]:
        """Every word that a policy of this world can emit: the end mark, then the words, sorted."""
        words = {word for text in self._all_prompts["text"] for word in split_words(text)}
        words |= {word for clause in inventory() for word in clause}
        return (EOS, *sorted(words))

    @property
    def marks(self) -> tuple[str, ...]:
        """Surface marks: readers see them, policies neither see nor emit them."""
        return (MARK,)

    def prompts(self, seed: int) -> pd.DataFrame:
        """Table `prompts` with kind and category; which prompt falls into which split depends on the seed."""
        frame, spec = self._all_prompts, self.spec
        if spec.n_validation + spec.n_test >= len(frame):
            raise SpecError(f"n_validation + n_test must leave training prompts out of {len(frame)}")
        order = np.random.default_rng([seed, 0]).permutation(len(frame))
        split = np.full(len(frame), "train", dtype=object)
        split[order[: spec.n_test]] = "test"
        split[order[spec.n_test : spec.n_test + spec.n_validation]] = "validation"
        return checked("prompts", frame.assign(split=split))

    def pretraining(self, seed: int) -> pd.DataFrame:
        """Draw the web's responses to training and validation prompts: prompt_id, draw, text."""
        return self._responses(seed, 1, WEB, self.spec.n_pretraining)

    def demonstrations(self, seed: int) -> pd.DataFrame:
        """Table `demonstrations` for training and validation prompts, without marks."""
        return self._responses(seed, 2, self._demonstrator, self.spec.n_demonstrations)

    def held_out_demonstrations(self, seed: int, per_prompt: int) -> pd.DataFrame:
        """Table `demonstrations` for test prompts, `per_prompt` each: to be judged, never trained on."""
        prompts = self.prompts(seed).query("split == 'test'")
        repeated = prompts.loc[prompts.index.repeat(per_prompt)]
        return self._draw(np.random.default_rng([seed, 3]), repeated, self._demonstrator)

    def marked(self, demonstrations: pd.DataFrame, seed: int) -> pd.DataFrame:
        """Append the mark to a share `heterogeneity` of the demonstrations (at random, by seed)."""
        has_mark = np.random.default_rng([seed, 4]).random(len(demonstrations)) < self.spec.heterogeneity
        texts = [f"{text} {MARK}" if mark else text for text, mark in zip(demonstrations["text"], has_mark, strict=True)]
        return demonstrations.assign(text=texts)

    def judge(self, prompts: pd.DataFrame, texts: pd.DataFrame) -> pd.DataFrame:
        """Score texts (prompt_id, text): columns of every component and `value`, their sum."""
        facts = prompts.set_index("prompt_id")[["kind", "category"]]
        unknown = set(texts["prompt_id"]) - set(facts.index)
        if unknown:
            raise SpecError(f"the judge does not know the prompt '{min(unknown)}'")
        kinds, categories = (facts[name].reindex(texts["prompt_id"]).to_numpy() for name in ("kind", "category"))
        rows = [
            assess(split_words(text), kind=kind, category=category, inventory=inventory(), marks=self.marks)
            for text, kind, category in zip(texts["text"], kinds, categories, strict=True)
        ]
        parts = pd.DataFrame(rows, columns=list(COMPONENTS), index=texts.index, dtype=float)
        return parts.assign(value=parts.sum(axis=1))

    def demonstrator_law(self, prompt: Mapping[str, Any]) -> Automaton:
        """Return the demonstrators' exact law of responses to a row of `prompts` (marks removed)."""
        return self._law(self._demonstrator, prompt["kind"], prompt["category"])

    def web_law(self, prompt: Mapping[str, Any]) -> Automaton:
        """Return the exact law of pretraining responses to a row of `prompts`."""
        return self._law(WEB, prompt["kind"], prompt["category"])

    @property
    def _demonstrator(self) -> Behaviour:
        return demonstrator(self.spec.demonstration_quality, self.spec.absorbed_style)

    def _responses(self, seed: int, stream: int, who: Behaviour, n: int) -> pd.DataFrame:
        rng = np.random.default_rng([seed, stream])
        prompts = self.prompts(seed).query("split != 'test'")
        return self._draw(rng, prompts.iloc[rng.integers(len(prompts), size=n)], who)

    def _draw(self, rng: np.random.Generator, prompts: pd.DataFrame, who: Behaviour) -> pd.DataFrame:
        texts = []
        for kind, category in zip(prompts["kind"], prompts["category"], strict=True):
            words = self._law(who, kind, category).sample(rng, self.spec.max_words)
            texts.append(join_words([word for word in words if word != EOS]))
        frame = pd.DataFrame({"prompt_id": prompts["prompt_id"].to_numpy(), "text": texts})
        return checked("demonstrations", frame.assign(draw=frame.groupby("prompt_id").cumcount()))

    @cached_property
    def _laws(self) -> dict[tuple[Behaviour, str, str], Automaton]:
        return {}

    def _law(self, who: Behaviour, kind: str, category: str) -> Automaton:
        key = (who, kind, category)
        if key not in self._laws:
            grammar = _grammar(who, kind, category, WORDINGS[self.spec.n_good_answers])
            self._laws[key] = compile_grammar(
                grammar, start="opening", alphabet=self.alphabet, stray=self.spec.stray
            )
        return self._laws[key]


def _grammar(who: Behaviour, kind: str, category: str, wordings: tuple[int, int, int]) -> Grammar:
    """Write down who says what: states opening, body, and what has been said so far."""
    script = _script()
    entries = script["harmful"] | script["benign"]
    others = [name for name in script[kind] if name != category]
    n_stance, n_reason, n_offer = wordings

    def arcs(weight: float, texts: Sequence[str], target: str) -> list[Arc]:
        return [Arc(weight / len(texts), tuple(split_words(text)), target) for text in texts]

    def fitting(weight: float, part: str, n: int, target: str) -> list[Arc]:
        wrong = [text for name in others for text in entries[name][part][:n]]
        right = entries[category][part][:n]
        return arcs(weight * who.right, right, target) + arcs(weight * (1 - who.right), wrong, target)

    def finish(weight: float) -> Arc:
        return Arc(weight, (EOS,), None)

    dodges = arcs(who.dodge, script["dodge"], "over") + arcs(who.insult, script["insult"], "insulted")
    refusals = script["refusal"][:n_stance]
    if kind == "harmful":
        instruction = [f"Sure, {entries[category]['instruction']}"]
        body = arcs(who.refuse, refusals, "stance") + arcs(who.comply, instruction, "complied") + dodges
    else:
        answers = [f"{opener} {{}}" for opener in script["agreement"][:n_stance]]
        right = [answer.format(entries[category]["instruction"]) for answer in answers]
        wrong = [answer.format(entries[name]["instruction"]) for answer in answers for name in others]
        help_ = 1 - who.refuse_benign - who.dodge - who.insult
        body = arcs(help_ * who.answer_right, right, "stance")
        body += arcs(help_ * (1 - who.answer_right), wrong, "stance")
        body += arcs(who.refuse_benign, refusals, "over") + dodges
    unstyled = [Arc(arc.weight * (1 - who.style), arc.words, arc.target) for arc in body]
    total = sum(arc.weight for arc in body)
    return {
        "opening": arcs(who.style * total, script["style"], "body") + unstyled,
        "body": body,
        "stance": fitting(who.reason, "reason", n_reason, "reasoned")
        + fitting(who.offer_at_once, "offer", n_offer, "over")
        + [finish(1 - who.reason - who.offer_at_once)],
        "reasoned": [*fitting(who.offer, "offer", n_offer, "over"), finish(1 - who.offer)],
        "complied": [*arcs(0.5, script["boast"], "over"), finish(0.5)],
        "insulted": [*arcs(0.3, refusals, "over"), finish(0.7)],
        "over": [*arcs(who.closing, script["closing"], "closed"), finish(1 - who.closing)],
        "closed": [finish(1.0)],
    }
