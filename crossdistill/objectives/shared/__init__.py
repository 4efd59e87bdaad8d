"""Code that several objectives use: their inputs, vocabulary tables, divergences and auxiliary heads."""
