"""The arena: methods against each other, from one start, on the same prompts, with rates tuned on validation problems.

``file`` says what is compared, ``plan`` which cells follow from it, ``cell_run`` trains one, ``schedule`` many side by
side, ``results`` makes ``arena.json`` of them.
"""
