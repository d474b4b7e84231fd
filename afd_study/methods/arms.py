"""Beyond picking: which further policies are made, from which, by which method, on what.

Every arm starts at a policy, which is also its reference. What else it needs depends on the method, so each
method has a record of its own. Every record says

- `step`: which step makes the policy,
- `sources`: whose responses are learned from: sources of reward data, or arms, whose own samples are drawn,
- `settings`: what that step is called with,
- `training(spec)`: for how long and how fast it trains, by the study's settings for its method; an arm of
  its own schedule (`ArmsSpec.schedules`) differs from that where the schedule says so,
- `label`: what figures call the arm.

A new arm is one line in ARMS, a new method one more record.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from afd_study.methods.specs import ArmsSpec
from afd_study.models.specs import TrainingSpec
from afd_study.settings import Settings

DEMONSTRATORS = "demonstrators"  # their exact law: nothing is learned, and the true logit is the reward
FRESH = "fresh"  # a reward model that is trained anew on the arm's own samples
PICKED_FROM = 16  # responses, of which rejection sampling keeps the best

# what arms are measured by
PROXY = "init_sft"  # the reward model that scores arms beside the judge
SIZES = (1, 2, 4, 8, 16, 32)  # of Best-of-n, as far as the pool can tell its KL
STRENGTHS = (1.0, 1.5, 2.0, 3.0, 4.0)  # of the extrapolated law of whole responses
OPTIMUM_STRENGTHS = (1.0, 0.5, 0.1)  # of DPO on demonstrations, where its optimum is estimated
OPTIMUM_DRAWS = 64  # demonstrations a test prompt, from which the optimum is estimated
PATH_POINTS = 12  # of a direct method's run, at most: policies that are kept, sampled and judged
PATH_PROMPTS = 48  # test prompts that they answer
PATH_DRAWS = 8  # responses a prompt
EQUAL_LENGTH_RIVAL = "adversarial_reverse_kl"  # at whose lengths pi_SFT's precision is measured (claim L5)
ROUNDS = ("no round", "one round", "two rounds", "three rounds")


@dataclass(frozen=True)
class Record:
    """What most records of a method share; each says its own `step`, `sources` and `label`."""

    start: str

    @property
    def settings(self) -> Mapping[str, Any]:
        return {}

    def training(self, spec: ArmsSpec, sft: TrainingSpec) -> Settings:
        return sft


@dataclass(frozen=True)
class DirectArm(Record):
    """DPO on pairs: raise responses of `high` and lower those of `low`, at strength `beta`.

    `round` counts SPIN's rounds, in which the policy's own samples are lowered; 0 is plain DPO. With the
    `squared` loss SPIN fits a chi-square divergence (theory.self_play).
    """

    step: ClassVar[str] = "direct_policy"
    high: str
    low: str
    beta: float
    round: int = 0
    loss: Literal["logistic", "squared"] = "logistic"

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.high, self.low)

    @property
    def settings(self) -> Mapping[str, Any]:
        return {"high": self.high, "low": self.low, "beta": self.beta, "loss": self.loss}

    def training(self, spec: ArmsSpec, sft: TrainingSpec) -> Settings:
        return spec.direct

    @property
    def label(self) -> str:
        if self.round:
            front = "chi-square SPIN" if self.loss == "squared" else "SPIN"
            return f"{front}, {ROUNDS[self.round]}"
        if (self.high, self.low) == ("pi_sft", "pi_init"):
            return "DPO on Init-SFT's pairs"
        if self.high == "preferred":
            return "DPO on preferences"
        return f"DPO on {self.high}, strength {self.beta:g}"


@dataclass(frozen=True)
class SupervisedArm(Record):
    """SFT on responses of `high`; from pi_SFT on demonstrations, SFT continued for as many steps again."""

    step: ClassVar[str] = "pi_sft"
    high: str

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.high,)

    def training(self, spec: ArmsSpec, sft: TrainingSpec) -> Settings:
        again = self.start == "pi_sft" and self.high == "demonstrations"
        return sft.model_copy(update={"patience": None}) if again else sft

    @property
    def label(self) -> str:
        return "SFT continued" if self.high == "demonstrations" else f"SFT on {self.high} responses"


@dataclass(frozen=True)
class DistilledArm(Record):
    """Rejection sampling: SFT on the best of PICKED_FROM of the start's own samples by a reward model.

    `reward` is a kind of reward model, or FRESH, which is trained anew on the start's samples over pi_init's.
    """

    step: ClassVar[str] = "pi_sft"
    rounds: int
    reward: str

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.start,)

    @property
    def label(self) -> str:
        if self.reward == FRESH:
            return f"distilled, {ROUNDS[self.rounds]}, fresh reward"
        return f"best of {PICKED_FROM} distilled, {ROUNDS[self.rounds]}"


@dataclass(frozen=True)
class GradientArm(Record):
    """Policy gradient on a reward model, held to the start by `kl_coefficient` (reward per nat)."""

    step: ClassVar[str] = "gradient_policy"
    reward: str
    kl_coefficient: float
    algorithm: Literal["rloo", "ppo_clip"] = "rloo"
    sources: ClassVar[tuple[str, ...]] = ()

    def training(self, spec: ArmsSpec, sft: TrainingSpec) -> Settings:
        epochs = spec.ppo_epochs if self.algorithm == "ppo_clip" else 1
        own = {"kl_coefficient": self.kl_coefficient, "algorithm": self.algorithm, "epochs": epochs}
        return spec.gradient.model_copy(update=own)

    @property
    def label(self) -> str:
        name = {"rloo": "RLOO", "ppo_clip": "PPO"}[self.algorithm]
        return f"{name} on Init-SFT, KL coefficient {self.kl_coefficient:g}"


@dataclass(frozen=True)
class ExtrapolationArm(Record):
    """pi_SFT^exponent pi_init^(1 - exponent), tilted token by token at decoding: nothing is trained."""

    step: ClassVar[str] = "extrapolation"
    exponent: float
    sources: ClassVar[tuple[str, ...]] = ()

    @property
    def label(self) -> str:
        return f"extrapolation, token by token, {self.exponent:g}"


@dataclass(frozen=True)
class ImitationArm(Record):
    """Adversarial imitation: samples are to pass for responses of `against`.

    `against` is demonstrations (as SFT reads them), marked_demonstrations (as reward models do), or
    DEMONSTRATORS. `transform` turns the logit into a reward (theory.rewards.REWARD_TRANSFORMS).
    """

    step: ClassVar[str] = "adversarial_policy"
    against: str
    transform: Literal["airl", "gail", "density_ratio"]

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.against,)

    def training(self, spec: ArmsSpec, sft: TrainingSpec) -> Settings:
        return spec.adversarial.model_copy(update={"policy_reward": self.transform})

    @property
    def label(self) -> str:
        divergence = {"airl": "reverse KL", "gail": "JS", "density_ratio": "forward KL"}[self.transform]
        front = "true logit, " if self.against == DEMONSTRATORS else "adversarial "
        marks = ", marks shown" if self.against == "marked_demonstrations" else ""
        return f"{front}{divergence}{marks}{' from pi_SFT' if self.start == 'pi_sft' else ''}"


Arm = DirectArm | SupervisedArm | DistilledArm | GradientArm | ExtrapolationArm | ImitationArm
ARMS: dict[str, Arm] = {
    "dpo_demo_strength_1": DirectArm("pi_init", "demonstrations", "pi_init", 1.0),
    "dpo_demo_strength_0.5": DirectArm("pi_init", "demonstrations", "pi_init", 0.5),
    "dpo_demo_strength_0.1": DirectArm("pi_init", "demonstrations", "pi_init", 0.1),
    "dpo_init_sft": DirectArm("pi_sft", "pi_sft", "pi_init", 0.5),
    "dpo_preferences": DirectArm("pi_init", "preferred", "rejected", 0.5),
    "sft_preferred": SupervisedArm("pi_init", "preferred"),
    "sft_continued": SupervisedArm("pi_sft", "demonstrations"),
    "spin_1": DirectArm("pi_sft", "demonstrations", "pi_sft", 0.5, round=1),
    "spin": DirectArm("spin_1", "demonstrations", "spin_1", 0.5, round=2),
    "spin_chi2_1": DirectArm("pi_sft", "demonstrations", "pi_sft", 0.5, round=1, loss="squared"),
    "spin_chi2": DirectArm("spin_chi2_1", "demonstrations", "spin_chi2_1", 0.5, round=2, loss="squared"),
    "distilled_1": DistilledArm("pi_sft", 1, "init_sft"),
    "distilled_2": DistilledArm("distilled_1", 2, "init_sft"),
    "distilled_3": DistilledArm("distilled_2", 3, "init_sft"),
    "distilled_2_fresh": DistilledArm("distilled_1", 2, FRESH),
    "distilled_3_fresh": DistilledArm("distilled_2_fresh", 3, FRESH),
    "rl_init_sft_0.2": GradientArm("pi_sft", "init_sft", 0.2),
    "rl_init_sft_0.05": GradientArm("pi_sft", "init_sft", 0.05),
    "rl_init_sft_0.01": GradientArm("pi_sft", "init_sft", 0.01),
    "ppo_init_sft_0.05": GradientArm("pi_sft", "init_sft", 0.05, "ppo_clip"),
    "extrapolation_1.5": ExtrapolationArm("pi_sft", 1.5),
    "extrapolation_2": ExtrapolationArm("pi_sft", 2.0),
    "extrapolation_3": ExtrapolationArm("pi_sft", 3.0),
    "extrapolation_4": ExtrapolationArm("pi_sft", 4.0),
    "adversarial_reverse_kl": ImitationArm("pi_init", "demonstrations", "airl"),
    "adversarial_js": ImitationArm("pi_init", "demonstrations", "gail"),
    "adversarial_forward_kl": ImitationArm("pi_init", "demonstrations", "density_ratio"),
    "adversarial_reverse_kl_marked": ImitationArm("pi_init", "marked_demonstrations", "airl"),
    "adversarial_reverse_kl_from_sft": ImitationArm("pi_sft", "demonstrations", "airl"),
    "adversarial_js_from_sft": ImitationArm("pi_sft", "demonstrations", "gail"),
    "true_reverse_kl": ImitationArm("pi_init", DEMONSTRATORS, "airl"),
    "true_js": ImitationArm("pi_init", DEMONSTRATORS, "gail"),
    "true_forward_kl": ImitationArm("pi_init", DEMONSTRATORS, "density_ratio"),
    "true_reverse_kl_from_sft": ImitationArm("pi_sft", DEMONSTRATORS, "airl"),
    "true_js_from_sft": ImitationArm("pi_sft", DEMONSTRATORS, "gail"),
}


def made_by(*records: type[Arm]) -> tuple[str, ...]:
    """Return the names of the arms that these methods make, in order."""
    return tuple(name for name, arm in ARMS.items() if isinstance(arm, records))


def control_of(name: str) -> str | None:
    """Return the arm with the true logit in place of a learned one, all else equal; None for other arms.

    What a learned arm does not reach says something of the method only beside what the exact logit reaches.
    """
    arm = ARMS[name]
    if not isinstance(arm, ImitationArm) or arm.against == DEMONSTRATORS:
        return None
    exact = replace(arm, against=DEMONSTRATORS)
    return next(each for each, other in ARMS.items() if other == exact)


def strength(arm: Arm) -> float:
    """Return how far a way's arm goes: an extrapolation's exponent, or policy gradient's KL coefficient."""
    if isinstance(arm, ExtrapolationArm):
        return arm.exponent
    if isinstance(arm, GradientArm):
        return arm.kl_coefficient
    raise TypeError(f"{arm} is no point of a way")


WAYS = {
    "extrapolation": made_by(ExtrapolationArm),
    "rl_init_sft": tuple(
        name for name, arm in ARMS.items() if isinstance(arm, GradientArm) and arm.algorithm == "rloo"
    ),
}
"""Way from pi_SFT -> the arms that are its points: compared with Best-of-n at equal KL."""
