#!/usr/bin/env bash
# One run on a TPU slice of Google Kubernetes Engine, by xpk, which writes the JobSet. Runs where xpk is installed.
set -euo pipefail

# ---- fill in
NAME=taggen CLUSTER=my-cluster PROJECT=my-project ZONE=us-east5-a
TYPE=v5litepod-16 SLICES=1
IMAGE=REGION-docker.pkg.dev/PROJECT/REPOSITORY/taggen-jax:latest
STORAGE=shared # made with `xpk storage attach`, mounted at /shared
TRAIN="--config=configs/mine.py --data=/shared/data --workdir=/shared/runs/mine"
# ----

xpk workload create --workload="$NAME" --cluster="$CLUSTER" --project="$PROJECT" --zone="$ZONE" \
  --tpu-type="$TYPE" --num-slices="$SLICES" --docker-image="$IMAGE" --storage="$STORAGE" \
  --max-restarts=100 --restart-on-exit-codes=134,137,143 --termination-grace-period-seconds=180 \
  --command="taggen train $TRAIN --distributed" "$@"
