"""Faster ways to the same numbers. With all of them off (`switch.disabled`) results are the same up to rounding.

`install` replaces modules of a model (`fused_mlp`). The other kernels are asked, by `supports` or `is_faster`,
whether they can take a piece of work: `shared_prefix` decoding, `shared_prompt_scoring` the scores of many
responses to a prompt, `last_block` training and rewards. Where they cannot, transformers' own path is taken.
"""
