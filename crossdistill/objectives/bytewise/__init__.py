"""What methods share that look at tokens as bytes: bpm, bld and the marginal credit of dpca."""
