"""ANLI+ (Phang et al. 2020, arXiv 2005.13013): MultiNLI, SNLI and the three rounds of ANLI as one task with one head.

SNLI's pairs without a gold label are left out: only so do the parts add up to 1,104,934 pairs. The rows come from the parts'
own sources; the validation set is MultiNLI's matched one, SNLI's and ANLI's.
"""

from tasks import anli, mnli, snli
from xstilts import classification, metrics
from xstilts.task import Task

TASK = Task(
    name="anli_plus",
    type=classification.TYPE,
    parts=(mnli.TASK, snli.TASK, anli.TASK),
    labels=mnli.LABELS,
    metric=metrics.Accuracy,
    sizes={"train": 1_104_934, "validation": 22_857},
)
