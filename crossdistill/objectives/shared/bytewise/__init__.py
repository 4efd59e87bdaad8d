"""Byte-prefix probabilities: used by bpm, escd, bld and the marginal credit."""
