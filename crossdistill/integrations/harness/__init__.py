"""Other evaluation harnesses on the same checkpoint, each in a process of its own: lm-eval and evalscope."""
