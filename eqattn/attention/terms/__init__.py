"""Terms of pairs: what logits and values are made of."""
