"""Which pairs a reward model is trained on: which responses are to score high, and which low.

This is the place where a reward model's pairs are chosen: REWARD_DATA has one line for each choice, and a new
choice is one more line. No step of a study imports the table, so nothing is computed again for a new line.
`reward_pairs.paired_responses` joins the two sides into pairs, and `reward_model.fit` learns from them.

With the best discriminator the logit between two laws is their log ratio, so the choice of data decides
what the reward model learns (arXiv 2405.15624, section 3.2). From samples of pi_SFT against pi_init
(Init-SFT) it can only learn what fine-tuning changed. Against demonstrations (Init-Demo, SFT-Demo) it may
learn whatever distinguishes people's texts from a model's, marks and style first of all.

Samples are free for every discriminator: `_x10` draws ten times as many of each policy, and pairs each
demonstration with ten. `_bt` learns by Bradley-Terry from the same pairs: a relativistic discriminator, whose
loss depends on the difference of both rewards alone (arXiv 2511.21667). `init_sft_linear` learns a linear
head on the features of its backbone, which stays as it is (arXiv 2411.04991, 2502.04357). `preferences_128`
is there to be given another recipe than `preferences`, beside it.

A source of responses is `pi_init`, `pi_sft`, `demonstrations`, `preferred`, `rejected`, or a further SFT
policy that the study's setting `policies` names.
"""

from collections.abc import Mapping
from types import MappingProxyType

from afd_study.methods.reward_pairs import RewardData, Trained

REWARD_DATA: dict[str, RewardData] = {
    "init_sft": RewardData(high="pi_sft", low="pi_init"),
    "init_demo": RewardData(high="demonstrations", low="pi_init"),
    "sft_demo": RewardData(high="demonstrations", low="pi_sft"),
    "preferences": RewardData(high="preferred", low="rejected", loss="bradley_terry"),
    "init_sft_x10": RewardData(high="pi_sft", low="pi_init", times=10),
    "init_demo_x10": RewardData(high="demonstrations", low="pi_init", times=10),
    "sft_demo_x10": RewardData(high="demonstrations", low="pi_sft", times=10),
    "init_sft_bt": RewardData(high="pi_sft", low="pi_init", loss="bradley_terry"),
    "init_demo_bt": RewardData(high="demonstrations", low="pi_init", loss="bradley_terry"),
    "init_sft_linear": RewardData(high="pi_sft", low="pi_init"),
    "preferences_128": RewardData(high="preferred", low="rejected", loss="bradley_terry"),
    "preferences_bce": RewardData(high="preferred", low="rejected"),
}

TRAINED: Mapping[str, Trained] = MappingProxyType({"init_sft_linear": "head"})
"""What is trained of a reward model, where that is not all of it."""
