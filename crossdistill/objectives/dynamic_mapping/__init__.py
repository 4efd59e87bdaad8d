"""What cdm is made of: pairs of tokens by warping, and pairs of entries by spelling."""
