"""Guests in other engines: each samples and trains in its own way, and has its samples scored by a Distiller."""
