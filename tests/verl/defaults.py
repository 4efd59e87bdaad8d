"""Prints verl's own values of the settings that the plug-in checks: python -m tests.verl.defaults KEY ..."""

import json
import sys

from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from crossdistill.integrations.verl.checks import look_up

if __name__ == "__main__":
    with initialize_config_module("verl.trainer.config", version_base=None):
        config = OmegaConf.to_container(compose("ppo_trainer"))
    print(json.dumps({key: look_up(config, key) for key in sys.argv[1:]}))
