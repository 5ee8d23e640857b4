#!/usr/bin/env bash
# Create .venv with the locked requirements and this project in editable form.
set -euo pipefail
cd "$(dirname "$0")/.."
export PIP_DISABLE_PIP_VERSION_CHECK=1 UV_SYSTEM_CERTS=1

main() {
    echo "Setting up .venv ..." >&2
    is_python_fit .venv/bin/python || create_environment
    install_with_uv || install_with_pip
    rm -f proxy/encoders/_rows*.so # else an old one would serve where the new one can't be built
    .venv/bin/python -m pip install -q --no-deps --no-build-isolation -e .
    touch .venv/.done
}

is_python_fit() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null
}

create_environment() {
    local python
    for python in python3 python3.14 python3.13 python3.12 python3.11 none; do
        is_python_fit "$python" && break
    done
    [ "$python" != none ] || fail "pgsidecar needs Python 3.11 to 3.14: install python3.11."
    "$python" -c 'import ensurepip' 2>/dev/null || install_venv_module "$python"
    "$python" -m venv --clear .venv
}

install_venv_module() { # Debian has it in a package of its own
    local package
    package=$("$1" -c 'import sys; print("python{}.{}-venv".format(*sys.version_info))')
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        fail "$1 can't create environments: install $package (apt-get install $package)."
    fi
    echo "Installing $package ..." >&2
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends "$package" >/dev/null
}

install_with_uv() { # quick; it doesn't read pip's configuration, so hand it a private index
    local index
    .venv/bin/python -m pip install -q uv==0.13.9 >/dev/null 2>&1 || return
    index=${UV_DEFAULT_INDEX:-$(.venv/bin/python -m pip config get global.index-url 2>/dev/null || true)}
    UV_DEFAULT_INDEX=$index .venv/bin/uv pip sync -q --require-hashes \
        --python .venv/bin/python requirements.lock 2>/dev/null
}

install_with_pip() {
    echo "uv doesn't work here: installing with pip, which takes a minute ..." >&2
    .venv/bin/python -m pip install -q --require-hashes -r requirements.lock
}

fail() {
    echo "$*" >&2
    exit 1
}

main
