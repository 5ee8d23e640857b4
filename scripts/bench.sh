#!/usr/bin/env bash
# Set up what the benchmarks need in .cache/bench, then run them; `lock` renews the peers' lock.
set -euo pipefail
cd "$(dirname "$0")/.."
export PIP_DISABLE_PIP_VERSION_CHECK=1 UV_SYSTEM_CERTS=1
cache=.cache/bench
node=benchmarks/peers/node

main() {
    if [ "${1:-}" = lock ]; then lock; return; fi
    scripts/get-pgbouncer.sh
    is_done "$cache/venv" benchmarks/requirements.lock || set_up_python
    is_done "$cache/node" $node/package-lock.json || set_up_node
    exec .venv/bin/python -m benchmarks "$@"
}

is_done() { # folder, its lock: each folder keeps a copy of the lock that it was made from
    cmp -s "$1/.done" "$2"
}

set_up_python() {
    echo "Setting up $cache/venv ..." >&2
    .venv/bin/python -m venv --clear $cache/venv
    install_with_uv || $cache/venv/bin/pip install -q --require-hashes -r benchmarks/requirements.lock
    cp benchmarks/requirements.lock $cache/venv/.done
}

install_with_uv() { # scripts/setup.sh tried to put it into .venv; a private index is pip's to know
    local index
    index=${UV_DEFAULT_INDEX:-$(.venv/bin/python -m pip config get global.index-url 2>/dev/null || true)}
    UV_DEFAULT_INDEX=$index .venv/bin/uv pip sync -q --require-hashes \
        --python $cache/venv/bin/python benchmarks/requirements.lock 2>/dev/null
}

set_up_node() {
    command -v npm >/dev/null || { echo "The Node peer needs node and npm: install Node 20 or newer." >&2; exit 1; }
    echo "Setting up $cache/node ..." >&2
    mkdir -p $cache/node
    cp $node/package.json $node/package-lock.json $node/.npmrc $cache/node/
    (cd $cache/node && npm ci --silent)
    cp $node/package-lock.json $cache/node/.done
}

lock() {
    .venv/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes \
        --no-emit-index-url --no-emit-find-links --custom-compile-command "scripts/bench.sh lock" \
        -o benchmarks/requirements.lock benchmarks/requirements.in
    (cd $node && npm install --package-lock-only --silent)
}

main "$@"
