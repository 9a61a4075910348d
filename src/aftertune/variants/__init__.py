"""Variants: corpora, and the controlled changes of one that arms are tuned on."""
