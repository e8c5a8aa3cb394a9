# Sourced by demo/run.sh and tests/run.sh with the names of requirement files: makes .venv when no environment is active, and
# installs what they ask for in the tested versions. A second call installs nothing: the stamp holds the files' checksum.
if [ -z "${VIRTUAL_ENV:-}${CONDA_PREFIX:-}" ]; then
  [ -x .venv/bin/python ] || python3 -m venv .venv
  source .venv/bin/activate
fi
wanted=$(cat constraints.txt "$@" | cksum)
stamp=$(python -c 'import sys; print(sys.prefix)')/xstilts-$(echo "$*" | cksum | cut -d " " -f 1)
if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
  # torch first: a bare lower bound would fetch the newest build, with gigabytes for GPUs, even where one is installed already
  python -c 'import torch' 2>/dev/null || python -m pip install --quiet "$(grep '^torch==' constraints.txt)"
  python -m pip install --quiet --constraint constraints.txt $(printf -- '--requirement %s ' "$@")
  echo "$wanted" > "$stamp"
fi
