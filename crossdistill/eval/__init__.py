"""How good a model is at a task, and how sure the number is."""
