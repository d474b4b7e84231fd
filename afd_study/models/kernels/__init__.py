"""Faster ways to the same numbers: with `switch.disabled` results are the same up to rounding.

A single pass differs in the last digits. Training amplifies that, as it does where the processor is another.

`install` replaces modules of a model (`fused_mlp`). The other kernels tell, by `supports` or `is_faster`,
whether they take a piece of work; where they do not, transformers' own path is taken. `shared_prefix` serves
decoding, `shared_prompt_scoring` the scores of many responses to a prompt, `last_block` training and rewards.
"""
