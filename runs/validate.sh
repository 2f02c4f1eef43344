#!/usr/bin/env bash
# Makes the table of docs/results.md: the validation split, all five set-ups, all methods and baselines, in one command.
#
#   runs/validate.sh ASSETS [OUTPUT] [more options of chronosplat eval]
#
# ASSETS: the folder with the eight .glb files of the split and the manifest.json that names each one's clip.
# CLIPS takes some of the eight alone (a Python slice, as 0:4). METHODS overrides what is compared; leave out scratch=60 to save forty minutes.
set -euo pipefail
cd "$(dirname "$0")/.."
ASSETS=$1
OUTPUT=${2:-outputs/validation}
CLIPS=${CLIPS:-all}
METHODS=${METHODS:-white nearest feed-forward fast best scratch=fast scratch=best scratch=10 scratch=60}
mapfile -t CAPTURES < <(.venv/bin/python - "$ASSETS" "$CLIPS" <<'PYTHON'
import json, sys
from pathlib import Path
from chronosplat.data.bank import VALIDATION
clips = {a["name"]: a["recommended_animation"] for a in json.loads((Path(sys.argv[1]) / "manifest.json").read_text())}
some = slice(None) if sys.argv[2] == "all" else slice(*map(int, sys.argv[2].split(":")))
for name in VALIDATION[some]:
    print(f"{sys.argv[1]}/{name}.glb@{clips[name]}")
PYTHON
)
.venv/bin/chronosplat eval "${CAPTURES[@]}" --output "$OUTPUT" --methods $METHODS "${@:3}"
