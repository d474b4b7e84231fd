"""Beyond picking: which further policies are made, from which, by which method, on what.

An arm starts at a policy, which is also its reference, and learns from responses (direct methods, SFT), from
a reward, or by imitation against a discriminator. A new arm is one line here.
"""

from typing import Literal, NamedTuple

PROXY = "init_sft"  # what arms are scored by beside the judge

SIZES = (1, 2, 4, 8, 16, 32)  # of Best-of-n, as far as the pool can tell its KL

STRENGTHS = (1.0, 1.5, 2.0, 3.0, 4.0)  # of the extrapolated law of whole responses

OPTIMUM_STRENGTHS = (1.0, 0.5, 0.1)  # of DPO on demonstrations, where its optimum is estimated

OPTIMUM_DRAWS = 64  # demonstrations a test prompt, of which the optimum is told

Method = Literal["sft", "direct", "rloo", "ppo_clip", "adversarial", "extrapolation"]
GRADIENT: tuple[Method, ...] = ("rloo", "ppo_clip")
FRESH = "fresh"
DEMONSTRATORS = "demonstrators"


class Arm(NamedTuple):
    """How one policy is made from another.

    `strength` is a direct method's beta, the coefficient of policy gradient's KL to its start, or an
    extrapolation's exponent of pi_SFT. `high` and `low` name the responses to raise and to lower: a source of
    reward data (reward_data.REWARD_DATA) or another arm, whose own samples are drawn. `reward` is the model
    that policy gradient ascends, or by which SFT learns the best of PICKED_FROM of `high`: one of
    REWARD_DATA, or FRESH, trained anew on samples of `high` over pi_init.

    Adversarial imitation hides among `high`: demonstrations (as SFT reads them), marked_demonstrations (as
    reward models do), or DEMONSTRATORS: then nothing is learned, the logit is the exact one. `reward` names
    the transform of the logit (theory.rewards.REWARD_TRANSFORMS).
    """

    method: Method
    start: str
    high: str = ""
    low: str = ""
    strength: float = 1.0
    reward: str = ""


PICKED_FROM = 16
ARMS: dict[str, Arm] = {
    "dpo_demo_strength_1": Arm("direct", "pi_init", "demonstrations", "pi_init", 1.0),
    "dpo_demo_strength_0.5": Arm("direct", "pi_init", "demonstrations", "pi_init", 0.5),
    "dpo_demo_strength_0.1": Arm("direct", "pi_init", "demonstrations", "pi_init", 0.1),
    "dpo_preferences": Arm("direct", "pi_init", "preferred", "rejected", 0.5),
    "sft_preferred": Arm("sft", "pi_init", "preferred"),
    "spin_1": Arm("direct", "pi_sft", "demonstrations", "pi_sft", 0.5),
    "spin": Arm("direct", "spin_1", "demonstrations", "spin_1", 0.5),  # after two rounds
    "distilled_1": Arm("sft", "pi_sft", "pi_sft", reward="init_sft"),
    "distilled_2": Arm("sft", "distilled_1", "distilled_1", reward="init_sft"),
    "distilled_3": Arm("sft", "distilled_2", "distilled_2", reward="init_sft"),
    "distilled_2_fresh": Arm("sft", "distilled_1", "distilled_1", reward=FRESH),
    "distilled_3_fresh": Arm("sft", "distilled_2_fresh", "distilled_2_fresh", reward=FRESH),
    "rl_init_sft_0.2": Arm("rloo", "pi_sft", strength=0.2, reward="init_sft"),
    "rl_init_sft_0.05": Arm("rloo", "pi_sft", strength=0.05, reward="init_sft"),
    "rl_init_sft_0.01": Arm("rloo", "pi_sft", strength=0.01, reward="init_sft"),
    "ppo_init_sft_0.05": Arm("ppo_clip", "pi_sft", strength=0.05, reward="init_sft"),
    "extrapolation_1.5": Arm("extrapolation", "pi_sft", strength=1.5),
    "extrapolation_2": Arm("extrapolation", "pi_sft", strength=2.0),
    "extrapolation_3": Arm("extrapolation", "pi_sft", strength=3.0),
    "extrapolation_4": Arm("extrapolation", "pi_sft", strength=4.0),
    "adversarial_reverse_kl": Arm("adversarial", "pi_init", "demonstrations", reward="airl"),
    "adversarial_js": Arm("adversarial", "pi_init", "demonstrations", reward="gail"),
    "adversarial_forward_kl": Arm("adversarial", "pi_init", "demonstrations", reward="density_ratio"),
    "adversarial_reverse_kl_marked": Arm("adversarial", "pi_init", "marked_demonstrations", reward="airl"),
    "adversarial_reverse_kl_from_sft": Arm("adversarial", "pi_sft", "demonstrations", reward="airl"),
    "true_reverse_kl": Arm("adversarial", "pi_init", DEMONSTRATORS, reward="airl"),
    "true_js": Arm("adversarial", "pi_init", DEMONSTRATORS, reward="gail"),
    "true_forward_kl": Arm("adversarial", "pi_init", DEMONSTRATORS, reward="density_ratio"),
    "true_reverse_kl_from_sft": Arm("adversarial", "pi_sft", DEMONSTRATORS, reward="airl"),
}


def made_by(*methods: Method) -> tuple[str, ...]:
    """Return the names of the arms that these methods make, in order."""
    return tuple(name for name, arm in ARMS.items() if arm.method in methods)


EQUAL_LENGTH_RIVAL = "adversarial_reverse_kl"  # at whose lengths the precision of pi_SFT is told (claim L5)
WAYS = {"extrapolation": made_by("extrapolation"), "rl_init_sft": made_by("rloo")}
"""Way from pi_SFT -> the arms that are its points: compared with Best-of-n at equal KL."""
