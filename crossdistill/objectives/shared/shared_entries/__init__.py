"""Divergences over the entries that both vocabularies have: used by strict, shared_vocab and simct."""
