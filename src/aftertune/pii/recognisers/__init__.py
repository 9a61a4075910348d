"""The recognisers, one family each; `pii/candidates.py` has the table of them."""
