"""Byte-prefix probabilities: used by bpm, bld and the marginal credit."""
