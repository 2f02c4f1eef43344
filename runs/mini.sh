#!/usr/bin/env bash
# Trains 4d-lrm-mini: nothing -> trained -> measured. Run it again to resume; its state lives in runs/state/mini.
#
#   runs/mini.sh [ASSETS]    ASSETS: a folder of .glb files (procedural objects alone without it)
#
# Weights start from the shipped ones when there is no state, unless INIT is set (INIT= trains from nothing).
# STEPS, LR, THREADS and STATE change the run; the shipped weights' figures are in docs/results.md.
set -euo pipefail
cd "$(dirname "$0")/.."
ASSETS=${1:-}
STATE=${STATE:-runs/state/mini}
STEPS=${STEPS:-6000}
LR=${LR:-3e-4}
THREADS=${THREADS:-1}
SHIPPED=src/chronosplat/models/lrm4d/shipped/4d-lrm-mini.safetensors
INIT=${INIT-$SHIPPED}
EXCLUDE="sketchfab_toon_cat sketchfab_robot_mantis q_animals_husky q_dinosaurs_triceratops \
kaykit_rogue_hooded babylon_desk_fan q_easy_enemies_frog quaternius_bunny_monster"

.venv/bin/chronosplat train --output "$STATE" --assets "$ASSETS" --exclude $EXCLUDE --init "$INIT" \
  --steps "$STEPS" --lr "$LR" --threads "$THREADS"
if [ -n "$ASSETS" ]; then
  METHODS="white nearest feed-forward" runs/validate.sh "$ASSETS" "$STATE/validation" --weights "$STATE/weights.safetensors"
  cat "$STATE/validation/table.md"
fi
echo "when it is better than the shipped weights: cp $STATE/weights.safetensors $SHIPPED"
