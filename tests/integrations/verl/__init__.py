"""What of the plug-in for verl needs no verl; `make test-verl` has the rest (tests/verl)."""
