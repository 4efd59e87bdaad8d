"""Dynamic time warping of token sequences and mapping of tokens by spelling: used by cdm."""
