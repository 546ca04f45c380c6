#!/usr/bin/env bash
# One run on a Cloud TPU slice, by a queued resource: asks for the slice, starts the run on all its hosts, and
# when the slice is taken away or a host is lost, starts again; the run resumes. Run it where gcloud is logged in.
set -euo pipefail

# ---- fill in
NAME=taggen PROJECT=my-project ZONE=us-east5-a
TYPE=v5litepod-16 RUNTIME=v2-alpha-tpuv5-lite
FILER=10.0.0.2:/share  # an NFS export (Filestore) that all hosts see; it holds the source, data and workdir
TRAIN="--config=/share/taggen-jax/configs/mine.py --data=/share/data --workdir=/share/runs/mine"
# ----

tpu() { gcloud compute tpus "$@" --project="$PROJECT" --zone="$ZONE"; }
state() { tpu queued-resources describe "$NAME" --format='value(state.state)' 2>/dev/null || echo NONE; }
remove() { tpu queued-resources delete "$NAME" --force --quiet; }

HOST="set -e
  sudo mkdir -p /share && (mountpoint -q /share || sudo mount -t nfs $FILER /share)
  test -x ~/venv/bin/taggen || (python3 -m venv ~/venv && ~/venv/bin/pip install -q '/share/taggen-jax[tpu]')
  pkill -TERM -x taggen || true
  exec ~/venv/bin/taggen train $TRAIN --distributed"

while true; do
  case $(state) in
    NONE) tpu queued-resources create "$NAME" --node-id="$NAME" --accelerator-type="$TYPE" \
      --runtime-version="$RUNTIME" --spot ;;
    FAILED | SUSPENDED) remove ;;
    ACTIVE)
      status=0
      tpu tpu-vm ssh "$NAME" --worker=all --command="$HOST" || status=$?
      case $status in
        0) remove; exit 0 ;;
        2) echo "a mistake to mend; the slice is still there: $NAME" >&2; exit 2 ;;
        *) echo "ended with status $status; starting again" >&2 ;;
      esac ;;
  esac
  sleep 30
done
