#!/usr/bin/env bash
# A study with one command: bash studies/run.sh configs/studies/layers-demo.yaml [options of snakemake]
# Given again it goes on where it was, however it ended. -n shows what is left to run. --jobs N runs N at a time; without it as many as
# there are GPUs, or processors.
set -euo pipefail
cd "$(dirname "$0")/.."
study=${1:?"give a study: $(ls configs/studies/*.yaml | xargs)"}
shift
source demo/environment.sh requirements.txt studies/requirements.txt
file=$study
[ -e "$file" ] || file=${study%%:*} # <file>:<one of its sets>
if grep -q '^data_dir: demo/world' -- "$file" && ! grep -q iso639_3 demo/world/languages.csv 2> /dev/null; then
  python demo/make_world.py --output_dir demo/world
fi
python studies/plan.py "$study"
mkdir -p .snakemake
case " $* " in
  *" -n "* | *" --dry-run "*) ;;
  *)
    exec 9> .snakemake/study.lock
    flock --nonblock 9 || { echo "another study is running in this folder; wait for it, or look with -n" >&2; exit 2; }
    ;;
esac
jobs=$(nvidia-smi -L 2> /dev/null | grep -c ^GPU) || jobs=$(nproc --all) # grep fails where there is none
[ -z "${CUDA_VISIBLE_DEVICES:-}" ] || jobs=$(tr , '\n' <<< "$CUDA_VISIBLE_DEVICES" | wc -l)
quoted=$(python -c 'import json, sys; print(json.dumps(sys.argv[1:]))' "$study") # Snakemake reads it as YAML
# Snakemake holds the lock too, should this shell be killed alone. Its jobs do not inherit it: they may outlive a killed study.
snakemake --snakefile studies/Snakefile --workflow-profile studies/profiles/local --cores "$jobs" --config study="$quoted" "$@" ||
  { echo "some runs are missing; the report of those that are there: python run_report.py --study $study" >&2; exit 1; }
