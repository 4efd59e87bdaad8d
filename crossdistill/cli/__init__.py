"""The command line: ``crossdistill demo | inspect | align | train | sft | eval | doctor``."""

from crossdistill.cli.app import main

__all__ = ["main"]
