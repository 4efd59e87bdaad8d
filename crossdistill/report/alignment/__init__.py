"""The alignment view: how the tokens of student and teacher share the bytes of a response, as data and as text."""
