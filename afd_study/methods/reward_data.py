"""What a reward model is trained on: which responses are to score high, and which low.

With the best discriminator the logit between two laws is their log ratio, so the choice of data decides
what the reward model learns (arXiv 2405.15624, section 3.2). From samples of pi_SFT against pi_init
(Init-SFT) it can only learn what fine-tuning changed; against demonstrations (Init-Demo, SFT-Demo) it may
learn whatever tells people's texts from a model's, marks and style first of all.

A source is `pi_init`, `pi_sft`, `demonstrations`, `preferred`, `rejected`, or a further SFT policy that the
study's setting `policies` names. A new choice is one line here.
"""

from typing import Literal, NamedTuple


class RewardData(NamedTuple):
    """Sources of the responses that score high and low, and the loss that learns from them."""

    high: str
    low: str
    loss: Literal["discriminator_bce", "bradley_terry"] = "discriminator_bce"
    times: int = 1


REWARD_DATA: dict[str, RewardData] = {
    "init_sft": RewardData(high="pi_sft", low="pi_init"),
    "init_demo": RewardData(high="demonstrations", low="pi_init"),
    "sft_demo": RewardData(high="demonstrations", low="pi_sft"),
    "preferences": RewardData(high="preferred", low="rejected", loss="bradley_terry"),
    "init_sft_x10": RewardData(high="pi_sft", low="pi_init", times=10),
    "init_sft_bt": RewardData(high="pi_sft", low="pi_init", loss="bradley_terry"),
    "preferences_bce": RewardData(high="preferred", low="rejected"),
}
