#!/usr/bin/env bash
# One worker on each of 8 machines with 8 GPUs: sbatch deploy/slurm.sh. What is lost with a
# machine is the steps since the last state: the job is put into the queue again and goes on.
#SBATCH --job-name=tfmodels
#SBATCH --nodes=8
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=32
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail
port=$((20000 + SLURM_JOB_ID % 20000))
workers=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed "s/.*/\"&:$port\"/" | paste -sd,)
export workers
# Each task makes its own TF_CONFIG: the same cluster, its own index.
status=0
srun --kill-on-bad-exit=1 bash -c '
  export TF_CONFIG="{\"cluster\": {\"worker\": [$workers]},
                     \"task\": {\"type\": \"worker\", \"index\": $SLURM_NODEID}}"
  exec tfmodels gpt pretrain --text_files "/data/books/*.txt" --size small --batch_size 2048 \
      --steps 100000 --save_steps 500 --strategy multi_worker --peer_wait 900 \
      --output_dir /data/runs/gpt
' || status=$?
# Lost another worker (75), killed (137) or told to leave (143). What else ends a training, such as a
# wrong flag (2), would end it again.
case $status in 75|137|143) scontrol requeue "$SLURM_JOB_ID" ;; esac
exit $status
