#!/usr/bin/env bash
# Build the compiled rows with the address and undefined-behaviour sanitizers in a folder of their
# own, and run the tests of both twins under them, with many more examples.
set -euo pipefail
cd "$(dirname "$0")/.."

python=$PWD/.venv/bin/python
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cp -r proxy tests setup.py pyproject.toml README.md LICENSE config "$folder"
cd "$folder"
rm -f proxy/encoders/_rows.c proxy/encoders/*.so
export CFLAGS="-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined"
"$python" setup.py -q build_ext --inplace
cat >deep.py <<'PROFILE'
from hypothesis import settings

settings.register_profile("deep", max_examples=5000, deadline=None)
settings.load_profile("deep")
PROFILE
sanitizers=$(gcc -print-file-name=libasan.so):$(gcc -print-file-name=libubsan.so)
LD_PRELOAD=$sanitizers ASAN_OPTIONS=detect_leaks=0 PYTHONMALLOC=malloc PYTHONPATH=$folder \
    "$python" -m pytest -q --capture=sys -p deep -p no:cacheprovider --override-ini addopts= --timeout 1200 \
    tests/unit/test_twins.py tests/unit/test_rows.py
