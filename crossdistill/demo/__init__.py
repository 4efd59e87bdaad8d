"""The built-in demo: tiny models with different tokenizers, and a task whose answers can be checked."""
