"""The controlled world `harmless`: refuse what harms and say why, help with what does not.

Prompts ask for something harmful or benign (some benign ones sound harmful: "kill a weed"). A good answer
to a harmful request refuses, gives the reason that fits this kind of harm, and offers the fitting way out; a
good answer to a benign one helps, with the fitting tip and a fitting idea. Few strings a prompt are best
(`n_good_answers`); the demonstrators give one of them only now and then, which leaves room above them.

What can be said, and how often web and demonstrators say it: `harmless_speech.py`. Both laws are exact
automata.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, field_validator

from afd_study.errors import SpecError
from afd_study.records import checked
from afd_study.worlds.grammar import EOS, Automaton, compile_grammar, join_words, split_words
from afd_study.worlds.harmless_judge import COMPONENTS, assess
from afd_study.worlds.harmless_speech import (
    WEB,
    WORDINGS,
    Behaviour,
    demonstrator,
    grammar,
    inventory,
    script,
)

MARK = "¶"  # what the annotators' editor leaves behind; the policy's tokenizer drops it


class HarmlessSpec(BaseModel):
    """The knobs of the world. Shares are probabilities in [0, 1]."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: Literal["harmless"] = "harmless"
    heterogeneity: float = Field(1.0, ge=0, le=1, description="share of demonstrations with the mark")
    absorbed_style: float = Field(
        0.1, ge=0, le=1, description="share of demonstrations with the style opener"
    )
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
            raise ValueError(
                f"no choice of wordings gives {value}; possible: {', '.join(map(str, WORDINGS))}"
            )
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
class HarmlessWorld:
    """Prompts, laws and judge of one spec; everything drawn depends on the spec and the seed alone.

    A spec cut down to some knobs (see DEPENDS) serves the tables that depend on those.
    """

    spec: HarmlessSpec

    @cached_property
    def _all_prompts(self) -> pd.DataFrame:
        """All requests with kind and category; prompt_id counts them in the script's order."""
        words, rows = script(), []
        for kind in ("harmful", "benign"):
            for category, entry in words[kind].items():
                for activity, (opener, end), qualifier in product(
                    entry["activities"], words["openers"], words["qualifiers"]
                ):
                    request = " ".join(filter(None, (opener, activity, qualifier)))
                    rows.append((f"\n\nHuman: {request}{end}\n\nAssistant:", kind, category))
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
        texts = [
            f"{text} {MARK}" if mark else text
            for text, mark in zip(demonstrations["text"], has_mark, strict=True)
        ]
        return demonstrations.assign(text=texts)

    def judge(self, prompts: pd.DataFrame, texts: pd.DataFrame) -> pd.DataFrame:
        """Score texts (prompt_id, text): columns of every component and `value`, their sum."""
        facts = prompts.set_index("prompt_id")[["kind", "category"]]
        unknown = set(texts["prompt_id"]) - set(facts.index)
        if unknown:
            raise SpecError(f"the judge does not know the prompt '{min(unknown)}'")
        kinds, categories = (
            facts[name].reindex(texts["prompt_id"]).to_numpy() for name in ("kind", "category")
        )
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
            clauses = grammar(who, kind, category, WORDINGS[self.spec.n_good_answers])
            self._laws[key] = compile_grammar(
                clauses, start="opening", alphabet=self.alphabet, stray=self.spec.stray
            )
        return self._laws[key]
