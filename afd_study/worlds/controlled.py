"""What all controlled worlds share: the knobs, the tables drawn from exact laws, and the protocol of a world.

A world says what prompts ask (`requests`), what can be said and how authors behave (`TRAITS`), how they put
it together (`grammar`), what it is worth (`assess`) and which parts fit a request (`fitting`). Everything
else is here. Two authors speak: the *web*, from which pretraining text is drawn, and the *demonstrators*.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from pydantic import Field, field_validator, model_validator

from afd_study.errors import SpecError
from afd_study.records import checked
from afd_study.settings import Settings
from afd_study.worlds.grammar import (
    EOS,
    Automaton,
    Grammar,
    compile_grammar,
    join_words,
    split_words,
    unending,
)
from afd_study.worlds.sentences import Inventory
from afd_study.worlds.speech import Traits, with_mark

GOOD = 1.5  # judge points from which an answer counts as good, in every world (the best is 2.25)


class ControlledSpec(Settings):
    """The knobs of a controlled world. Shares are probabilities in [0, 1]."""

    WORDINGS: ClassVar[Mapping[int, Any]] = {1: None}
    """Each `n_good_answers` that the world can have -> the choice of wordings that gives it."""

    name: str
    variant: int | None = Field(None, ge=0, description="drawn by worlds/variants.py; None: no variant")
    n_good_answers: int = 1
    """Best strings a prompt that web and demonstrators can say, opener and closing apart: one of WORDINGS."""
    heterogeneity: float = Field(1.0, ge=0, le=1, description="share of demonstrations with the mark")
    absorbed_style: float = Field(
        0.1, ge=0, le=1, description="share of demonstrations with the style opener"
    )
    demonstration_quality: float = Field(0.5, ge=0, le=1, description="how often demonstrators do right")
    n_demonstrations: int = Field(2000, ge=1)
    preference_noise: float = Field(0.0, ge=0, le=0.5, description="share of preference labels flipped")
    preference_scale: float = Field(2.0, gt=0, description="judge points to Bradley-Terry logits (nats)")
    stray: float = Field(0.02, gt=0, lt=1, description="probability of a stray word at every step")
    n_pretraining: int = Field(120000, ge=1, description="responses of the web to pretrain on")
    n_validation: int = Field(144, ge=1, description="validation prompts")
    n_test: int = Field(144, ge=1, description="test prompts")
    max_words: int = Field(64, ge=8, description="horizon T: no response is longer")

    @field_validator("n_good_answers")
    @classmethod
    def _can_be_worded(cls, value: int) -> int:
        if value not in cls.WORDINGS:
            possible = ", ".join(map(str, cls.WORDINGS))
            raise ValueError(f"no choice of wordings gives {value}; possible: {possible}")
        return value

    @model_validator(mode="after")
    def _variants_draw_their_wordings(self) -> "ControlledSpec":
        usual = type(self).model_fields["n_good_answers"].default
        if self.variant is not None and self.n_good_answers != usual:
            raise ValueError(f"a variant draws its own wordings: leave n_good_answers at {usual}")
        return self


# The knobs that each table depends on. A step's key holds these, and its world has no others.
_WORLD = ("name", "variant")
_SPLITS = (*_WORLD, "n_validation", "n_test")
_SPEECH = (*_SPLITS, "stray", "n_good_answers", "max_words")
_AUTHORS = (*_SPEECH, "demonstration_quality", "absorbed_style")
DEPENDS: Mapping[str, tuple[str, ...]] = {
    "prompts": _SPLITS,
    "vocabulary": _WORLD,
    "pretraining": (*_SPEECH, "n_pretraining"),
    "demonstrations": (*_AUTHORS, "n_demonstrations"),
    "held_out_demonstrations": _AUTHORS,
    "demonstrator_law": (*_WORLD, "stray", "n_good_answers", "demonstration_quality", "absorbed_style"),
    "marked": (*_WORLD, "heterogeneity"),
    "judge": _WORLD,
    "preferences": ("preference_noise", "preference_scale"),
}


@dataclass(frozen=True)
class ControlledWorld(ABC):
    """Prompts, laws and judge of one spec; everything drawn depends on the spec and the seed alone.

    In place of a whole spec some of its knobs (see DEPENDS) serve the tables that depend on those.
    """

    spec: ControlledSpec | SimpleNamespace

    TRAITS: ClassVar[Traits]
    """Of the world that is no variant."""
    CONDITIONS: ClassVar[tuple[str, ...]]
    """Columns of `prompts` that laws and judge depend on, such as the kind of a request."""
    NAME: ClassVar[str]
    SPEC: ClassVar[type[ControlledSpec]]

    @abstractmethod
    def requests(self) -> pd.DataFrame:
        """Return every request: text (without the dialogue's frame) and the CONDITIONS."""

    @abstractmethod
    def grammar(self, behaviour: Any, *conditions: str) -> Grammar:
        """Return who says what in reply; the start is the state "opening"."""

    @abstractmethod
    def assess(self, words: Sequence[str], *conditions: str) -> tuple[float, ...]:
        """Return the points of a response (marks removed), in the order of `components`."""

    @abstractmethod
    def fitting(self, voice: int, *conditions: str) -> Sequence[tuple[Sequence[str], Sequence[str]]]:
        """Return for each part of a good answer its wordings, and the same wordings for another request."""

    @cached_property
    def traits(self) -> Any:
        """The world's Traits; those of variants are opened by name, and keyed in no other world's steps."""
        if self.spec.variant is None:
            return self.TRAITS
        return import_module(f"afd_study.worlds.{self.NAME}_variants").traits(self.spec.variant)

    @property
    def components(self) -> Mapping[str, str]:
        """The judge's components, which sum to the score: name -> how to read it."""
        return self.traits.judge.components()

    def inventory(self) -> Inventory:
        """Return every clause of the world."""
        return self.traits.inventory

    def behaviour(self, who: str) -> Any:
        """Return how `who` behaves: "web", or "demonstrators" at this spec's quality and style."""
        if who == "web":
            return self.traits.web
        return self.traits.demonstrators.at(self.spec.demonstration_quality, self.spec.absorbed_style)

    @property
    def style(self) -> tuple[str, ...]:
        """Openers that are style: they fit every request and earn nothing."""
        return tuple(self.traits.script["style"])

    def edited(self, text: str, *conditions: str) -> Mapping[str, str]:
        """Return the text with one fitting part made unfitting, and with one more: name of the edit -> text.

        An edit that does not apply is left out.
        """
        edits = dict[str, str]()
        said = self.inventory().read(split_words(text)).clauses
        voice = next((clause.voice for clause in said if clause.voice is not None), 0)
        for right, wrong in self.fitting(voice, *conditions):
            place = next((i for i, sentence in enumerate(right) if sentence in text), None)
            if place is None:
                edits.setdefault("a fitting part added", f"{text} {right[0]}")
            else:
                swapped = text.replace(right[place], wrong[place], 1)
                edits.setdefault("a fitting part made unfitting", swapped)
        return edits

    @cached_property
    def _all_prompts(self) -> pd.DataFrame:
        """All requests as dialogues; prompt_id counts them in the world's order."""
        requests = self.requests()
        text = "\n\nHuman: " + requests["text"] + "\n\nAssistant:"
        return requests.assign(text=text, prompt_id=[f"{self.NAME}-{i:04d}" for i in range(len(requests))])

    @cached_property
    def alphabet(self) -> tuple[str, ...]:
        """Every word that a policy of this world can emit: the end mark, then the words, sorted."""
        words = {word for text in self._all_prompts["text"] for word in split_words(text)}
        words |= {word for clause in self.inventory().clauses for word in clause}
        return (EOS, *sorted(words))

    @property
    def marks(self) -> tuple[str, ...]:
        """Surface marks: readers see them, policies neither see nor emit them."""
        return self.traits.marks

    def prompts(self, seed: int) -> pd.DataFrame:
        """Table `prompts` with the CONDITIONS; which prompt falls into which split depends on the seed."""
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
        return self._responses(seed, 1, "web", self.spec.n_pretraining)

    def demonstrations(self, seed: int) -> pd.DataFrame:
        """Table `demonstrations` for training and validation prompts, without marks."""
        return self._responses(seed, 2, "demonstrators", self.spec.n_demonstrations)

    def held_out_demonstrations(self, seed: int, per_prompt: int) -> pd.DataFrame:
        """Table `demonstrations` for test prompts, `per_prompt` each: to be judged, never trained on."""
        prompts = self.prompts(seed).query("split == 'test'")
        repeated = prompts.loc[prompts.index.repeat(per_prompt)]
        return self._draw(np.random.default_rng([seed, 3]), repeated, "demonstrators")

    def marked(self, demonstrations: pd.DataFrame, seed: int) -> pd.DataFrame:
        """Put a mark on a share `heterogeneity` of the demonstrations (at random, by seed)."""
        rng, signs = np.random.default_rng([seed, 4]), self.marks
        has_mark = rng.random(len(demonstrations)) < self.spec.heterogeneity
        which = rng.integers(len(signs), size=len(demonstrations))
        texts = [
            with_mark(text, signs[sign], self.traits.mark_place) if mark else text
            for text, mark, sign in zip(demonstrations["text"], has_mark, which, strict=True)
        ]
        return demonstrations.assign(text=texts)

    def judge(self, prompts: pd.DataFrame, texts: pd.DataFrame) -> pd.DataFrame:
        """Score texts (prompt_id, text): columns of every component and `value`, their sum."""
        rows = [
            self.assess([word for word in split_words(text) if word not in self.marks], *conditions)
            for text, conditions in zip(texts["text"], self._conditions(prompts, texts), strict=True)
        ]
        parts = pd.DataFrame(rows, columns=list(self.components), index=texts.index, dtype=float)
        return parts.assign(value=parts.sum(axis=1))

    def counterfactuals(self, prompts: pd.DataFrame, texts: pd.DataFrame) -> pd.DataFrame:
        """Return texts with one thing edited: columns prompt_id, source, draw, edit, text; a row an edit.

        Edits: the mark added, the style opener added, and the world's own in substance (`edited`).
        """
        rows = []
        columns = [texts[name] for name in ("prompt_id", "source", "draw", "text")]
        for *ids, text, conditions in zip(*columns, self._conditions(prompts, texts), strict=True):
            marked = with_mark(text, self.marks[0], self.traits.mark_place)
            versions = {"mark added": marked} | dict(self.edited(text, *conditions))
            if not text.startswith(self.style):
                versions["style opener added"] = f"{self.style[0]} {text}"
            rows += [(*ids, edit, version) for edit, version in versions.items() if version != text]
        return pd.DataFrame(rows, columns=["prompt_id", "source", "draw", "edit", "text"])

    def law(self, who: str, prompt: Mapping[str, Any]) -> Automaton:
        """Return the exact law of the responses of `who` (web, demonstrators; marks removed) to a prompt."""
        return self._law(who, tuple(prompt[name] for name in self.CONDITIONS))

    def _conditions(self, prompts: pd.DataFrame, texts: pd.DataFrame) -> list[tuple[str, ...]]:
        facts = prompts.set_index("prompt_id")[list(self.CONDITIONS)]
        unknown = set(texts["prompt_id"]) - set(facts.index)
        if unknown:
            raise SpecError(f"the world '{self.NAME}' does not know the prompt '{min(unknown)}'")
        return list(facts.reindex(texts["prompt_id"]).itertuples(index=False, name=None))

    def _responses(self, seed: int, stream: int, who: str, n: int) -> pd.DataFrame:
        rng = np.random.default_rng([seed, stream])
        prompts = self.prompts(seed).query("split != 'test'")
        return self._draw(rng, prompts.iloc[rng.integers(len(prompts), size=n)], who)

    def _draw(self, rng: np.random.Generator, prompts: pd.DataFrame, who: str) -> pd.DataFrame:
        texts = []
        rows = prompts[list(self.CONDITIONS)].astype(object)  # iterating over Arrow's strings is slow
        for conditions in rows.itertuples(index=False, name=None):
            words = self._law(who, conditions).sample(rng, self.spec.max_words)
            texts.append(join_words([word for word in words if word != EOS]))
        frame = pd.DataFrame({"prompt_id": prompts["prompt_id"].to_numpy(), "text": texts})
        return checked("demonstrations", frame.assign(draw=frame.groupby("prompt_id").cumcount()))

    @cached_property
    def _laws(self) -> dict[tuple[Any, ...], Automaton]:
        return {}

    def _law(self, who: str, conditions: tuple[str, ...]) -> Automaton:
        behaviour = self.behaviour(who)
        key = (who, behaviour, conditions)
        if key not in self._laws:
            arcs_of = self.grammar(behaviour, *conditions)
            if who == "web" and not self.traits.web_ends:
                arcs_of = unending(arcs_of, self.traits.script["connector"], start="opening")
            self._laws[key] = compile_grammar(
                arcs_of, start="opening", alphabet=self.alphabet, stray=self.spec.stray
            )
        return self._laws[key]


def open_world(settings: Mapping[str, Any]) -> ControlledWorld:
    """Return the controlled world `settings["name"]`, which knows the given settings and no others.

    It is imported by name, so that a new world leaves everything as it was that was computed in others.
    """
    world: type[ControlledWorld] = import_module(f"afd_study.worlds.{settings['name']}").World
    return world(SimpleNamespace(**settings))
