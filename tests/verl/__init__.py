"""verl on the CPU: its own trainer, with a platform and a sampler for tests."""
