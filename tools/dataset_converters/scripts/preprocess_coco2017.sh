#!/usr/bin/env bash
# What `mim download sohes --dataset coco2017` runs after the download:
# val2017 and its annotations unpacked, and converted.
#   preprocess_coco2017.sh DOWNLOAD_ROOT DATA_ROOT [options of coco.py]
set -euo pipefail

raw=$1/OpenDataLab___COCO_2017/raw
data=$2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
shift 2

for archive in Images/val2017 Annotations/annotations_trainval2017; do
    if [ ! -f "$raw/$archive.zip" ]; then
        echo "error: $raw/$archive.zip is missing" >&2
        exit 2
    fi
    "${PYTHON:-python}" -m zipfile -e "$raw/$archive.zip" "$data"
done
"${PYTHON:-python}" "$here/../coco.py" \
    "$data/annotations/instances_val2017.json" \
    --out "$data/entities_val2017.json" --overwrite "$@"
