"""A plug-in for verl, for tests alone: a CPU as its platform, and a sampler that generates with transformers.

verl loads it in each of its processes (``VERL_USE_EXTERNAL_MODULES=tests.verl.cpu``). What it samples, and what its
loss is given, is written to the folder ``VERL_TEST_RECORDS``, if that is set.
"""

import asyncio
import contextlib
import json
import os
import types
from pathlib import Path
from typing import Any

import ray
import torch
from verl.experimental.agent_loop.agent_loop import register
from verl.plugin.platform.platform_base import PlatformBase
from verl.plugin.platform.platform_manager import PlatformRegistry
from verl.trainer.ppo import core_algos
from verl.workers.rollout import base as rollout_base
from verl.workers.rollout.base import BaseRollout
from verl.workers.rollout.replica import RolloutReplica, RolloutReplicaRegistry, TokenOutput

from crossdistill.integrations.verl.plugin import DistillationLoop

RECORDS = os.environ.get("VERL_TEST_RECORDS")
GATHER_S = 0.05  # others join the batch
MEMORY = {"mem_get_info": (1 << 33, 1 << 34)}
CONSTANTS = {"is_available": False, "get_device_name": "CPU", "device_count": 1, "current_device": 0, **MEMORY}


def record(kind: str, **values: Any) -> None:
    if RECORDS is not None:
        with (Path(RECORDS) / f"{kind}-{os.getpid()}.jsonl").open("a") as file:
            file.write(json.dumps(values) + "\n")


class DeviceModule(types.ModuleType):
    """In place of ``torch.cuda``: constants, no memory, and the CPU's random numbers."""

    get_rng_state = staticmethod(torch.get_rng_state)
    set_rng_state = staticmethod(torch.set_rng_state)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        value = CONSTANTS.get(name, 0 if "memory" in name and not name.startswith("reset") else None)
        return lambda *args, **kwargs: value


@PlatformRegistry.register(platform="cpu")
class CPU(PlatformBase):
    device_name = property(lambda self: "cpu")
    vendor_name = property(lambda self: "cpu")
    device_module = property(lambda self: DeviceModule("torch_cpu"))

    def is_available(self):
        return True

    def is_platform_available(self, use_smi_check=False):
        return False

    def current_device(self):
        return torch.device("cpu")

    def device_count(self):
        return 1

    def set_device(self, device_index):
        pass

    def synchronize(self, device_index=None):
        pass

    def manual_seed(self, seed):
        torch.manual_seed(seed)

    manual_seed_all = manual_seed

    def set_allocator_settings(self, settings):
        pass

    def empty_cache(self):
        pass

    def get_device_capability(self, device_index=0):
        return None, None

    def communication_backend_name(self):
        return "gloo"

    def visible_devices_envvar(self):
        return "CUDA_VISIBLE_DEVICES"

    def ray_resource_name(self):
        return "GPU"

    def ray_resource_options(self, num_gpus):
        return {"num_gpus": num_gpus}

    def ray_noset_envvars(self):
        return ["RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES"]

    def is_ipc_supported(self):
        return False

    def get_collective_module(self):
        return None

    def nvtx_range(self, msg):
        return contextlib.nullcontext()

    def profiler_start(self):
        pass

    def profiler_stop(self):
        pass

    def cudart(self):
        return None


# ---- the sampler ----------------------------------------------------------------------------------------------------


@ray.remote
class Server:
    """Generates for whatever has gathered, with the weights that it was given last."""

    def __init__(self, path: str, budget: int):
        from transformers import AutoModelForCausalLM

        torch.set_num_threads(1)
        self.model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
        self.budget, self.step, self.waiting = budget, None, []

    async def load(self, state, step):
        self.model.load_state_dict(state, strict=False)
        self.step = step

    async def generate(self, request_id, prompt_ids, sampling_params, image_data=None, video_data=None, **kwargs):
        future = asyncio.get_running_loop().create_future()
        self.waiting.append((list(prompt_ids), dict(sampling_params), future))
        await asyncio.sleep(GATHER_S)
        if self.waiting:
            self._generate()
        return await future

    @torch.no_grad()
    def _generate(self) -> None:
        waiting, self.waiting = self.waiting, []
        prompts, settings, futures = zip(*waiting, strict=True)
        width = max(map(len, prompts))
        input_ids = torch.tensor([[0] * (width - len(ids)) + ids for ids in prompts])
        mask = torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for ids in prompts])
        stops = settings[0]["stop_token_ids"]
        is_greedy = settings[0]["temperature"] == 0
        # all of it: what is left open would come from the student's generation_config.json
        shape = {"do_sample": False} if is_greedy else {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0}
        out = self.model.generate(
            input_ids=input_ids,
            attention_mask=mask,
            max_new_tokens=self.budget,
            eos_token_id=stops,
            pad_token_id=0,
            output_logits=True,
            return_dict_in_generate=True,
            **shape,
        )
        logprobs = torch.stack(out.logits, 1).log_softmax(-1)
        for row, future in enumerate(futures):
            ids = out.sequences[row, width:].tolist()
            ids = ids[: next((k + 1 for k, token in enumerate(ids) if token in stops), len(ids))]
            chosen = [logprobs[row, k, token].item() for k, token in enumerate(ids)]
            record("sample", prompt_ids=prompts[row], ids=ids, logprobs=chosen)
            kept = chosen if settings[row].get("logprobs") else None
            extra = {"global_steps": self.step}
            future.set_result(TokenOutput(token_ids=ids, log_probs=kept, stop_reason="completed", extra_fields=extra))

    async def nothing(self, *args, **kwargs):
        pass

    wake_up = sleep = clear_kv_cache = release_kv_cache = resume_kv_cache = nothing
    abort_all_requests = resume_generation = nothing


class Replica(RolloutReplica):
    async def launch_servers(self):
        name = f"cpu_server_{self.replica_rank}"
        options = {"name": name, "num_cpus": 0, "max_concurrency": 1000}
        server = Server.options(**options).remote(self.model_config.path, self.config.response_length)
        self.servers, self._server_handle, self._server_address = [server], server, name


class Adapter(BaseRollout):
    async def resume(self, tags):
        pass

    async def release(self):
        pass

    async def update_weights(self, weights, wire_format="named_tensors", **kwargs):
        whole = ((name, t.full_tensor() if hasattr(t, "full_tensor") else t) for name, t in weights)
        state = {name: tensor.detach().float().cpu().clone() for name, tensor in whole}
        with contextlib.suppress(ValueError):  # there are fewer servers than workers
            server = ray.get_actor(f"cpu_server_{torch.distributed.get_rank()}")
            await server.load.remote(state, kwargs.get("global_steps"))


RolloutReplicaRegistry.register("cpu", lambda: Replica)
rollout_base._ROLLOUT_REGISTRY["cpu", "async"] = "tests.verl.cpu.Adapter"


# ---- where verl has no CPU in mind ----------------------------------------------------------------------------------

_init_process_group = torch.distributed.init_process_group


def init_process_group(backend=None, *args, **kwargs):
    return _init_process_group("gloo" if backend == "cpu:gloo,cpu:gloo" else backend, *args, **kwargs)


torch.distributed.init_process_group = init_process_group


@register("crossdistill_cpu")
class Loop(DistillationLoop):
    """The demo's student is a Qwen3 without Qwen's control tokens, which verl's builder for Qwen3 asks for."""

    def __init__(self, *args, hf_model_type=None, **kwargs):
        super().__init__(*args, hf_model_type=None, **kwargs)


# ---- records of the loss --------------------------------------------------------------------------------------------

_vanilla = core_algos.POLICY_LOSS_REGISTRY["vanilla"]


def recorded(old_log_prob, log_prob, advantages, response_mask, *args, **kwargs):
    """verl's own policy loss; what it is given is written down."""
    rows = zip(old_log_prob.tolist(), log_prob.tolist(), advantages.tolist(), response_mask.tolist(), strict=True)
    for old, new, own, mask in rows:
        record("loss", old=old, new=new, advantages=own, mask=mask)
    return _vanilla(old_log_prob, log_prob, advantages, response_mask, *args, **kwargs)


core_algos.POLICY_LOSS_REGISTRY["vanilla"] = recorded
