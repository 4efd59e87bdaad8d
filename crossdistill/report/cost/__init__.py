"""What runs cost and what SFT would: section 5.3 of the paper for any set of runs."""
