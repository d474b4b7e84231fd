"""Beyond picking: which further policies are made, from which, by which method, on what.

An arm starts at a policy, which is also its reference, and learns from responses (direct methods, SFT) or
from a reward. A new arm is one line here.
"""

from typing import Literal, NamedTuple

Method = Literal["sft", "direct", "extrapolation"]


class Arm(NamedTuple):
    """How one policy is made from another.

    `strength` is a direct method's beta, or an extrapolation's exponent of pi_SFT. `high` and `low` name the
    responses to raise and to lower: a source of reward data (reward_data.REWARD_DATA) or another arm, whose
    own samples are drawn. `picked_by` keeps of `high` the best of PICKED_FROM by a reward model.
    """

    method: Method
    start: str
    high: str = ""
    low: str = ""
    strength: float = 1.0
    picked_by: str = ""


PICKED_FROM = 16
ARMS: dict[str, Arm] = {
    "dpo_demo_strength_1": Arm("direct", "pi_init", "demonstrations", "pi_init", 1.0),
    "dpo_demo_strength_0.5": Arm("direct", "pi_init", "demonstrations", "pi_init", 0.5),
    "dpo_demo_strength_0.1": Arm("direct", "pi_init", "demonstrations", "pi_init", 0.1),
    "dpo_preferences": Arm("direct", "pi_init", "preferred", "rejected", 0.5),
    "sft_preferred": Arm("sft", "pi_init", "preferred"),
    "spin_1": Arm("direct", "pi_sft", "demonstrations", "pi_sft", 0.5),
    "spin": Arm("direct", "spin_1", "demonstrations", "spin_1", 0.5),  # after two rounds
    "distilled_1": Arm("sft", "pi_sft", "pi_sft", picked_by="init_sft"),
    "distilled_2": Arm("sft", "distilled_1", "distilled_1", picked_by="init_sft"),
    "extrapolation_1.5": Arm("extrapolation", "pi_sft", strength=1.5),
    "extrapolation_2": Arm("extrapolation", "pi_sft", strength=2.0),
    "extrapolation_3": Arm("extrapolation", "pi_sft", strength=3.0),
    "extrapolation_4": Arm("extrapolation", "pi_sft", strength=4.0),
}
