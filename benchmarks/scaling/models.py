"""Sizes of models, from their published configurations: parameters, FLOPs and bytes."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Model:
    """A dense transformer with gated feed-forward layers and an untied head, or a mixture of experts by its totals.

    Attributes:
        layers, width, inner, vocab: num_hidden_layers, hidden_size, intermediate_size, vocab_size.
        heads, kv_heads, head_size: of attention.
        weight_bytes: of a parameter as it is served.
        total, active: parameters, if they do not follow from the sizes (mixtures of experts).
        cache_values: numbers that a token leaves in the cache of a layer, if it is not keys and values of each head.
    """

    name: str
    layers: int
    width: int
    inner: int
    vocab: int
    heads: int
    kv_heads: int
    head_size: int
    weight_bytes: float = 2.0
    total: float = 0.0
    active: float = 0.0
    cache_values: int = 0

    @property
    def parameters(self) -> float:
        return self.total or self.matmul_parameters + self.vocab * self.width

    @property
    def matmul_parameters(self) -> float:
        """Those that take part in matrix products for one token: the head, but not the embedding."""
        attention = self.width * self.head_size * 2 * (self.heads + self.kv_heads)
        layer = attention + 3 * self.width * self.inner
        return self.active or self.layers * layer + self.vocab * self.width

    @property
    def bytes_served(self) -> float:
        return self.parameters * self.weight_bytes

    @property
    def cache_bytes(self) -> float:
        """Of one token in the key-value cache, in bf16."""
        return 2 * self.layers * (self.cache_values or 2 * self.kv_heads * self.head_size)

    def forward_flops(self, length: float) -> float:
        """Of all tokens of a sequence in one causal pass: 2 N a token, and attention over half of it on average."""
        return length * (2 * self.matmul_parameters + 2 * self.layers * self.heads * self.head_size * length)


LLAMA_8B = Model("Llama-3.1-8B", 32, 4096, 14336, 128256, 32, 8, 128)
QWEN_7B = Model("R1-Distill-Qwen-7B", 28, 3584, 18944, 152064, 28, 4, 128)
QWEN3_8B = Model("Qwen3-8B", 36, 4096, 12288, 151936, 32, 8, 128)
LLAMA_70B = Model("Llama-3.3-70B", 80, 8192, 28672, 128256, 64, 8, 128)
R1 = Model(
    "DeepSeek-R1", 61, 7168, 18432, 129280, 128, 128, 128, weight_bytes=1.0, total=671e9, active=37e9, cache_values=576
)
