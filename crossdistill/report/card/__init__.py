"""Model cards: what stands beside a trained model in its folder."""
