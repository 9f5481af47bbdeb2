#!/usr/bin/env bash
#SBATCH --job-name=render
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --gpus-per-node=1
#SBATCH --mem=48G
#SBATCH --time=12:00:00
#SBATCH --signal=B:TERM@120
#
# One batch on several nodes; the words are those of `render batch`, the paths ones that every node sees:
#
#   sbatch --nodes=4 distributed/slurm.sh --styles paintings --inputs /shared/photos --output /shared/prints --size 3072
#
# Two minutes before the time is up the batch is stopped gently; the same command goes on where it was.
# `python` must be one with render and ray[default]: load modules or activate the environment here or before sbatch.
set -euo pipefail

port=$((20000 + SLURM_JOB_ID % 20000))  # two jobs may share a node
temporary=${RAY_TMPDIR:-/tmp}/render-$SLURM_JOB_ID
export RAY_AUTH_MODE=token
RAY_AUTH_TOKEN=$(python -c 'import secrets; print(secrets.token_hex(32))')
export RAY_AUTH_TOKEN  # of this job alone; srun hands it to the nodes
export RAY_USAGE_STATS_ENABLED=0

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
on() { exec srun --nodes=1 --ntasks=1 --overlap --nodelist="$1" "${@:2}"; }  # in a subshell, whose id is then srun's
ip_of() { on "$1" hostname --ip-address | cut -d' ' -f1; }

started=()
finish() {
    status=$?
    trap - EXIT
    if ((${#started[@]})); then
        kill -TERM "${started[@]}" 2>/dev/null || true
        wait "${started[@]}" || true
    fi
    exit "$status"
}
trap finish EXIT
trap 'exit 143' TERM INT

# The dashboard and the client's port stay on the head's own loopback; the others must be seen by the nodes, and want the token.
head=${nodes[0]}
head_ip=$(ip_of "$head")
# Large memory pages for workers on CPUs, as `render` has them for what it starts itself.
export GLIBC_TUNABLES="${GLIBC_TUNABLES:-glibc.malloc.hugetlb=1}"
start=(ray start --block --disable-usage-stats --dashboard-agent-listen-port=0 --num-cpus="${SLURM_CPUS_PER_TASK:-1}")
on "$head" "${start[@]}" --head --node-ip-address="$head_ip" --port="$port" \
    --dashboard-host=127.0.0.1 --dashboard-port=$((port + 1)) --temp-dir="$temporary" &
started+=($!)
python -m render.distributed.on_head wait --address "$head_ip:$port" --nodes 1
for node in "${nodes[@]:1}"; do
    ip=$(ip_of "$node")
    on "$node" "${start[@]}" --address="$head_ip:$port" --node-ip-address="$ip" &
    started+=($!)
done
python -m render.distributed.on_head wait --address "$head_ip:$port" --nodes "${#nodes[@]}"
python -m render batch "$@" --runner ray --address "$head_ip:$port" &
batch=$!
trap 'kill -TERM "$batch"' TERM INT  # Slurm's signal, and scancel --batch
while :; do  # a signal ends `wait` before its child
    wait "$batch" && status=0 || status=$?
    kill -0 "$batch" 2>/dev/null || exit "$status"
done
