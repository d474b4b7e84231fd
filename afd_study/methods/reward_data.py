"""Which pairs a reward model is trained on: which responses are to score high, and which low.

This is the place where a reward model's pairs are chosen: REWARD_DATA has one line for each choice, and a new
choice is one more line. No step of a study imports the table, so nothing is computed again for a new line.
`reward_pairs.paired_responses` joins the two sides into pairs, and `reward_model.fit` learns from them.

With the best discriminator the logit between two laws is their log ratio, so the choice of data decides
what the reward model learns (arXiv 2405.15624, section 3.2). From samples of pi_SFT against pi_init
(Init-SFT) it can only learn what fine-tuning changed. Against demonstrations (Init-Demo, SFT-Demo) it may
learn whatever distinguishes people's texts from a model's, marks and style first of all.

A source of responses is `pi_init`, `pi_sft`, `demonstrations`, `preferred`, `rejected`, or a further SFT
policy that the study's setting `policies` names.
"""

from afd_study.methods.reward_pairs import RewardData

REWARD_DATA: dict[str, RewardData] = {
    "init_sft": RewardData(high="pi_sft", low="pi_init"),
    "init_demo": RewardData(high="demonstrations", low="pi_init"),
    "sft_demo": RewardData(high="demonstrations", low="pi_sft"),
    "preferences": RewardData(high="preferred", low="rejected", loss="bradley_terry"),
    "init_sft_x10": RewardData(high="pi_sft", low="pi_init", times=10),
    "init_sft_bt": RewardData(high="pi_sft", low="pi_init", loss="bradley_terry"),
    "preferences_bce": RewardData(high="preferred", low="rejected"),
}
