#!/bin/sh
# Serve a teacher with vLLM on the CPU: serve_teacher.sh FOLDER PORT. Further arguments go to vLLM.
#
# float32 and eager: a reference rather than a fast server. --max-logprobs bounds an objective's top_k. Prompt
# log-probabilities are computed --max-num-batched-tokens positions at a time, so that bounds the server's memory.
set -eu
folder=$1
port=$2
shift 2
export VLLM_CPU_KVCACHE_SPACE="${VLLM_CPU_KVCACHE_SPACE:-1}" VLLM_NO_USAGE_STATS=1 DO_NOT_TRACK=1
# not `vllm serve`: that asks for the version of a package named vllm
exec "${TEACHER_PYTHON:-python}" -m vllm.entrypoints.openai.api_server \
	--model "$folder" --served-model-name "$(basename "$folder")" --host 127.0.0.1 --port "$port" \
	--dtype float32 --enforce-eager --max-model-len 2048 --max-num-seqs 16 \
	--max-num-batched-tokens 2048 --max-logprobs 64 --logprobs-mode raw_logprobs "$@"
