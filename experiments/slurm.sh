#!/bin/sh
# A sweep as a Slurm array job: each task runs one shard, on a node of its own,
# in a directory of its own.
#
#   sbatch --array=1-8 slurm.sh my.yaml /shared/results
#   zcbench report /shared/results/shard-*
#
# A task that is requeued, or submitted again, goes on where it stopped.
#SBATCH --job-name=zcbench
#SBATCH --nodes=1
#SBATCH --exclusive
#SBATCH --requeue
#SBATCH --signal=B:TERM@60
set -eu
spec=$1
out=$2
shard=$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT
# exec, so that the signal before the time limit reaches zcbench, which drops
# the run that is on and puts the node's settings back.
exec "${ZCBENCH:-zcbench}" run "$spec" --shard "$shard" -o "$out/shard-$SLURM_ARRAY_TASK_ID" --resume
