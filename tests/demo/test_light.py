"""The demo's models and problems serve examples of the core, which has no engine."""

import subprocess
import sys

BLOCKED = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("trl", "accelerate", "peft", "datasets"):
            raise ImportError(name)

sys.meta_path.insert(0, Blocked())
from crossdistill.demo.run import asset, message
from crossdistill.demo.task import problems
"""


def test_models_and_problems_need_no_engine():
    done = subprocess.run([sys.executable, "-c", BLOCKED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
