"""An engine in this process: transformers' generation with a copy of the student."""

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from crossdistill.errors import InputError
from crossdistill.integrations.async_trl.sampler import Sampled, Sampler
from crossdistill.ops.contiguous import contiguous_head_input
from crossdistill.teachers.generation_defaults import defaults_set_aside


class LocalSampler(Sampler):
    """Samples with a model of its own, whose weights the trainer replaces between two calls.

    It is the trainer's `weight_transfer` as well. Meant for tests and small models: it keeps the logits of a call.

    Args:
        model: a Hugging Face causal language model, another object than the one that is trained.
        stop_ids: token ids that end a response (``distiller.stop_ids``).
        max_tokens: of a response, at most.
        temperature: of the sampling (``distiller.temperature``).
    """

    def __init__(self, model: Any, stop_ids: Sequence[int], max_tokens: int, temperature: float = 1.0):
        self.model = model.eval()
        self._stop_ids = list(stop_ids)
        self._max_tokens, self._temperature = max_tokens, temperature
        self._weights = dict(model.named_parameters())
        self._lock = threading.Lock()

    def sample(self, prompt_ids: Sequence[Sequence[int]]) -> list[Sampled]:
        width = max(map(len, prompt_ids))
        device = self.model.device
        ids = torch.tensor([[self._stop_ids[0]] * (width - len(row)) + list(row) for row in prompt_ids], device=device)
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in prompt_ids], device=device)
        with self._lock, torch.no_grad(), defaults_set_aside(self.model), contiguous_head_input(self.model):
            output = self.model.generate(
                input_ids=ids,
                attention_mask=mask,
                do_sample=True,
                temperature=self._temperature,
                top_k=0,
                max_new_tokens=self._max_tokens,
                eos_token_id=self._stop_ids,
                pad_token_id=self._stop_ids[0],
                return_dict_in_generate=True,
                output_logits=True,
            )
        logits = torch.stack(output.logits, dim=1).float() / self._temperature
        rows = zip(output.sequences[:, width:], logits.log_softmax(-1), strict=True)
        return [self._sampled(sequence, logprobs) for sequence, logprobs in rows]

    @torch.no_grad()
    def prompt_logprobs(self, prompt_ids: Sequence[Sequence[int]]) -> list[np.ndarray]:
        found = []
        for ids in prompt_ids:
            row = torch.tensor(list(ids), device=self.model.device)
            logprobs = self.model(row[None]).logits[0, :-1].float().log_softmax(-1)
            found.append(logprobs.gather(1, row[1:, None])[:, 0].cpu().numpy())
        return found

    def _sampled(self, sequence: Tensor, logprobs: Tensor) -> Sampled:
        ids = sequence.tolist()
        end = next((position for position, token in enumerate(ids) if token in self._stop_ids), None)
        ids = ids if end is None else ids[: end + 1]
        chosen = logprobs[: len(ids)].gather(1, sequence[: len(ids), None])[:, 0]
        mass = None if end is None else logprobs[end, self._stop_ids].logsumexp(0).item()
        return Sampled(ids, chosen.cpu().numpy().astype(np.float32), mass)

    # ---- TRL's WeightTransferProtocol: the weights stand still while a call samples -------------------------------

    def init_weight_transfer(self) -> None:
        return

    def pause(self) -> None:
        """Wait for the call that samples, and keep the next one waiting."""
        self._lock.acquire()

    def send_weights(self, iterator: Iterator[tuple[str, Tensor]]) -> None:
        """Replace the weights.

        Raises:
            InputError: the trainer's model has other weights.
        """
        sent = set()
        with torch.no_grad():
            for name, value in iterator:
                if name not in self._weights:
                    raise InputError(f"the sampler's model has no weight {name!r}: give it a copy of the student.")
                self._weights[name].copy_(value)
                sent.add(name)
        if not sent:
            raise InputError("the trainer sent no weights: the student has none that are trained.")

    def resume(self) -> None:
        self._lock.release()

    def destroy(self) -> None:
        return
