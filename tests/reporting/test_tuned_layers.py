"""What the report says of the layers that a LoRA leaves alone."""

from __future__ import annotations

from aftertune.reporting.tuned_layers import sentences


def test_only_what_was_left_out_needs_a_word_and_once() -> None:
    whole = {"modules": ["layers.*.q_proj"], "left_out": []}
    mixture = {"modules": ["layers.*.q_proj"], "left_out": ["layers.*.mlp.gate", "layers.*.mlp.experts"]}
    assert sentences([("m", whole), ("x", mixture), ("x", mixture)]) == [
        "The LoRA of x was put on layers.*.q_proj; layers.*.mlp.gate, layers.*.mlp.experts stayed as they are."
    ]
