"""One module per tokenizer library: each reduces its objects to a :class:`crossdistill.tokens.source.Source`."""
