#!/usr/bin/env bash
# A Slurm array that indexes a collection in 64 parts, and a job that merges them when all have ended well:
#
#     id=$(sbatch --parsable --array=1-64 examples/fleet/slurm.sh)
#     sbatch --dependency="afterok:$id" --wrap "bash examples/fleet/merge.sh /scratch/faces /srv/photos.index"
#
#SBATCH --job-name=facecli
#SBATCH --cpus-per-task=8
#SBATCH --mem=8G
#SBATCH --time=12:00:00
#SBATCH --requeue
set -euo pipefail
here=${FACECLI_EXAMPLES:-examples/fleet} # Slurm runs a copy of this file, in the directory that sbatch was called in
bash "$here/part.sh" "$SLURM_ARRAY_TASK_ID" "$SLURM_ARRAY_TASK_COUNT" "${PHOTOS:-/srv/photos}" "${SHARDS:-/scratch/faces}"
