"""``python -m crossdistill``, for launchers that start modules."""

from crossdistill.cli import main

main()
