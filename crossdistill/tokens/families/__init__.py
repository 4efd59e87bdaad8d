"""One module per tokenizer family: how its vocabulary entries become bytes."""
