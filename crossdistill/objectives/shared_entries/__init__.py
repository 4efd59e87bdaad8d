"""What methods share that compare the entries of both vocabularies: shared_vocab, simct and strict."""
