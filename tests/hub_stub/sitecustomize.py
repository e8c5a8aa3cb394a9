"""A hub of parquet files for processes that a test starts: a split is $HUB_STUB/<id>/<config>/<split>.parquet."""

import os
import sys

if any(os.path.basename(argument).startswith("run_") for argument in sys.orig_argv):
    import datasets

    def load_dataset(path, name=None, split=None, revision=None):
        """What datasets.load_dataset answers with for a parquet repository. The branch that the hub converts has no names."""
        if name is not None and revision == "refs/convert/parquet":
            raise ValueError(f"BuilderConfig '{name}' not found. Available: ['default']")
        return datasets.Dataset.from_parquet(
            os.path.join(os.environ["HUB_STUB"], path, name or "default", f"{split}.parquet")
        )

    datasets.load_dataset = load_dataset
