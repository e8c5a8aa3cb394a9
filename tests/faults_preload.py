"""What the server of tests/faults.py has imported before it forks: the scripts and what they import late, on one thread."""

import importlib
import os

os.environ.update(HF_HUB_OFFLINE="1", OMP_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false")
for name in ("run_intermediate", "run_target", "run_zeroshot_eval", "run_retrieval"):
    importlib.import_module(name)
importlib.import_module("torch").set_num_threads(1)
importlib.import_module("transformers").utils.logging.disable_progress_bar()
