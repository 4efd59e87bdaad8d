"""The commands, one per module: each defines ``command``, and its name is the module's."""
