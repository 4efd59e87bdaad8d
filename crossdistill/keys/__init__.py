"""The keys of files that a user writes, with their types, defaults and meanings; nothing heavy is imported for them."""
