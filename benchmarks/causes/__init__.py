"""Why methods differ: gradients on languages that can be enumerated, and on the demo's pair."""
