"""The command line: ``crossdistill demo | inspect | align | train | sft | doctor``."""

from crossdistill.cli.app import main

__all__ = ["main"]
