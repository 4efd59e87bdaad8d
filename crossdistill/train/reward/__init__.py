"""Task rewards of a run: what grades the student's responses while it trains.

What becomes of a reward is in :mod:`crossdistill.distill.group_rewards`.
"""
