#!/usr/bin/env bash
# What only a GPU can show, in one call: speed and memory of the recipes at real size with random weights
# (`speed`, about 12 minutes), and the trial tier's model on the public sets at full length
# (`tasks`; TUNEBOOK_SOURCES names a folder that has them).
#
#     make setup && benchmarks/on_gpu.sh speed
#     TUNEBOOK_SOURCES=/data benchmarks/on_gpu.sh tasks
#     TUNEBOOK_VLLM=../vllm/bin/vllm benchmarks/on_gpu.sh parity
#
# Each piece has a time limit of its own and does not stop the next. Results: benchmarks/results/bench/ and
# runs/. PYTHON names another interpreter than .venv's.
set -u
cd "$(dirname "$0")/.." || exit
PYTHON=${PYTHON:-.venv/bin/python}
LIMIT=${LIMIT:-300}
STEPS=${STEPS:-8}

piece() { # SECONDS COMMAND...: run one, say how it ended and how long it took
    local limit=$1 start=$SECONDS code=0
    shift
    timeout --kill-after=5 "$limit" "$PYTHON" -m tunebook.commands.cli "$@" || code=$?
    echo "== $* : exit code $code after $((SECONDS - start)) s"
    if [ "$code" != 0 ] && [ "$1" = bench ]; then tail -n 25 "runs/bench/$2/log.txt"; fi
}
bench() { piece "$LIMIT" bench "$@" --weights random --steps "$STEPS" --tier real; }

# A decoder of 1.2 billion parameters (the shape of Llama 3.2 1B), for full tuning.
one_billion() {
    mkdir -p runs/one-billion
    cat >runs/one-billion/config.json <<'JSON'
{"model_type": "llama", "num_hidden_layers": 16, "hidden_size": 2048, "intermediate_size": 8192,
 "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 64, "vocab_size": 128256,
 "tie_word_embeddings": true}
JSON
    echo runs/one-billion
}

speed() {
    bench chat-lora-8b --against trl
    bench chat-lora-8b --label qlora --set "adapter=qlora load_in_4bit=true" --against trl
    bench chat-full --label 1b --model "$(one_billion)" --set "sequence_len=4096 micro_batch_size=4 \
gradient_accumulation_steps=2 gradient_checkpointing=false \
plugins=[axolotl.integrations.liger.LigerPlugin] liger_fused_linear_cross_entropy=true liger_rms_norm=true \
liger_rope=true liger_glu_activation=true"
    bench chat-lora --against trl
}

tasks() {
    local base
    base=$("$PYTHON" -c 'from tunebook.models import trial_model; print(trial_model.ensure())' | tail -n 1)
    # The trial tier's learning rates, which were chosen on dev. Side by side: a model this small leaves most
    # of a card idle.
    piece "$LIMIT" recipe classify-lora --tier real --model "$base" \
        --set "learning_rate=0.0008 micro_batch_size=32" >runs/classify.out 2>&1 &
    piece "$LIMIT" recipe qa-lora --tier real --model "$base" --set learning_rate=0.001 \
        --rows train=6000 >runs/qa.out 2>&1 &
    piece "$LIMIT" recipe chat-lora --tier real --model "$base" --set learning_rate=0.002 \
        --rows test=96 >runs/chat.out 2>&1 &
    wait
    cat runs/classify.out runs/qa.out runs/chat.out
}

# Transformers against vLLM on the model that `tasks` trained last (docs/vllm.md).
parity() { "$PYTHON" benchmarks/vllm_parity.py chat-lora/latest --rows 50; }

mkdir -p runs
nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader
"${1:?speed, tasks or parity}"
