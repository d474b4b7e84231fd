"""Two architectures at the size of a test, made as the benchmarks make their models."""

from benchmarks.shapes import FAST, Shape, ending, from_shape

VOCABULARY, EOS = 40, 1
SHAPES = {
    "gpt2": Shape("gpt2", VOCABULARY, {"n_embd": 64, "n_layer": 2, "n_head": 2, "n_positions": 160, **FAST}),
    "gemma": Shape(
        "gemma",
        VOCABULARY,
        {
            "hidden_size": 32,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "head_dim": 16,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "max_position_embeddings": 160,
        },
    ),
}


def built(architecture, seed=0):
    """Return a model in evaluation mode; a GPT-2 ends its responses after eight tokens or so."""
    return ending(from_shape(SHAPES[architecture], seed), EOS, mean_length=8).eval()
