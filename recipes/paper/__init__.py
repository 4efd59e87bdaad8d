"""The experiments of "Breaking the Tokenizer Barrier" as commands: ``python -m recipes.paper``. docs/paper.md"""
