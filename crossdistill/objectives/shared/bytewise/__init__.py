"""Byte-prefix probabilities: used by bpm, escd, expected, bld and the marginal credit."""
