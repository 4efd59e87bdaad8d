"""The embedded demo: two tiny models with different tokenizers, and a task whose answers can be checked."""
