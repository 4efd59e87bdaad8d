#!/bin/sh
# A strong teacher on GPUs for `crossdistill train` elsewhere: serve-teacher-gpu.sh MODEL [further arguments of vllm serve]
#
#   pip install "vllm>=0.20"
#   recipes/serve-teacher-gpu.sh Qwen/Qwen3-32B --tensor-parallel-size 4
#
# What makes its scores exact, and its memory bounded:
#   --logprobs-mode raw_logprobs   log-probabilities of the model, before any penalty or mask (the default; others differ)
#   --max-logprobs 128             the largest top_k that an objective may ask for
#   --max-num-batched-tokens 8192  prompt log-probabilities are computed so many positions at a time: that many rows of
#                                  the vocabulary, in float32, is what scoring adds to the server's memory
#   --enable-chunked-prefill       long samples are cut to that size
#   no --quantization, no --speculative-config, --kv-cache-dtype auto: each changes the scores
#   --generation-config vllm       the model's own sampling defaults stay out of it
# A request with prompt log-probabilities never reads the prefix cache; the second one that asks for further stop tokens
# does, so leave it on. The key is optional; give the same one to the run in CROSSDISTILL_TEACHER_KEY. Anyone who reaches
# the port can use the server: put TLS in front of it, or keep it in a private network.
set -eu
model=$1
shift
exec vllm serve "$model" --host "${HOST:-0.0.0.0}" --port "${PORT:-8000}" --dtype bfloat16 \
	--max-logprobs 128 --logprobs-mode raw_logprobs --max-num-batched-tokens 8192 --enable-chunked-prefill \
	--generation-config vllm ${CROSSDISTILL_TEACHER_KEY:+--api-key "$CROSSDISTILL_TEACHER_KEY"} "$@"
