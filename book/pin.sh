#!/usr/bin/env bash
# Rewrite constraints.txt: the newest versions that pyproject.toml allows, from a scratch environment.
# The lines below `# asked for on some systems only` hold what this system does not install (aiohttp for Python 3.12,
# torch's CUDA wheels): they stay, and are checked by installing on such a system.
set -euo pipefail
cd "$(dirname "$0")/.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
python=${PYTHON:-.venv/bin/python}
[ -x "$python" ] || python=python3
"$python" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install --quiet -e '.[dev,bench,sweep]'
{
  sed -n '/^#/p;/^[^#]/q' constraints.txt
  # a local version label such as +cpu names one build of a release: the pin is the release
  "$scratch/venv/bin/python" -m pip freeze --all --exclude-editable | grep -viE '^(pip==|cuda|nvidia|triton)' | sed 's/+[a-z0-9.]*$//'
  sed -n '/^# asked for on some systems only/,$p' constraints.txt
} > "$scratch/constraints.txt"
mv "$scratch/constraints.txt" constraints.txt
git diff --stat -- constraints.txt || true
