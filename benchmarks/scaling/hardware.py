"""Stated figures of hardware, and what share of them an engine reaches: assumptions, each with its source."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Gpu:
    """Datasheet figures of one GPU.

    Attributes:
        flops: dense bf16 operations a second.
        bandwidth: bytes a second of its memory.
        memory: bytes.
        network: bytes a second between nodes, each way.
    """

    name: str
    flops: float
    bandwidth: float
    memory: float
    network: float


H100 = Gpu("H100 SXM", 989e12, 3.35e12, 80e9, 50e9)
"""NVIDIA's datasheet; the network is one 400 Gb/s port for each GPU, as in DGX H100."""


@dataclass(frozen=True)
class Reached:
    """Shares of the datasheet that engines reach. Assumptions; the tables show what halving or doubling them does.

    Attributes:
        training: model FLOPs utilisation with FSDP2 and long sequences: of three forward passes, so that recomputed
            activations make it less. torchtitan reports 0.33 to 0.42 for Llama 8B and 70B on H100; the lower middle is
            taken.
        prefill: of FLOPs, of a server that reads prompts of thousands of tokens; it does no backward pass and no
            gradient synchronisation.
        decode: of the memory's bandwidth, while sequences are sampled.
        network: of the port, for weights.
        decode_step_s: of a decode step, for what does not grow with the batch: launching kernels, scheduling, sampling.
        cache_share: of a GPU's memory beside the weights that holds keys and values.
    """

    training: float = 0.36
    prefill: float = 0.45
    decode: float = 0.65
    network: float = 0.7
    decode_step_s: float = 0.004
    cache_share: float = 0.85


USUAL = Reached()
