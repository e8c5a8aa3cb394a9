"""The default of `--max_tokens_per_batch` on a GPU: what keeps it busy, or what fits into its memory."""

import torch
from transformers import AutoConfig, AutoModel

from xstilts.base import options_given
from xstilts.loading import loaded
from xstilts.sharding import sharding_of

TOKENS = 16_384  # of a micro-batch; with few of them a GPU waits for the program
LEAST = 2_048  # 8 inputs of 256 tokens, the micro-batches of the configs
USABLE = 0.9  # of the memory; the rest is for CUDA itself and for gaps between tensors
PER_WEIGHT = 16  # bytes: weight, gradient and AdamW's two averages in float32


def default_tokens(args, training_args, tasks, argv=None, longest=None):
    """`--max_tokens_per_batch` where it is not given, for the encoder at `args.model_name_or_path` on this GPU; None on a CPU,
    for sharded models and dual encoders, which do not have it, and where the command line (`argv`) says how large micro-batches
    are. `longest` is the longest input in tokens where it is not --max_seq_length, as of a mixture, whose tasks have their own.

    The same on every GPU of the kind, whatever else lies in its memory, so that a run that goes on deals out its rows as before.
    """
    given = "per_device_train_batch_size" in options_given(argv)
    compared = any(task.type.in_batch_negatives for task in tasks)
    if given or compared or training_args.device.type != "cuda" or sharding_of(training_args):
        return None
    memory = torch.cuda.get_device_properties(training_args.device).total_memory
    masked = args.mlm_probability if getattr(args, "has_text", False) else 0
    config = loaded(AutoConfig, args.model_name_or_path)
    return fitted(config, memory, longest or args.max_seq_length, masked, training_args.world_size)


def fitted(config, memory, length, masked=0.0, processes=1):
    """TOKENS, or as many as fit into `memory` (bytes) beside all that is kept of each weight, LEAST at the least.

    An estimate from above, of training in float32 without frozen layers: per token and layer 38 bytes times the width and 8 times
    that of the inner layer, counted on XLM-R; where attention is not fused, 20 for each head and token of the longest input too;
    16 for each piece of the vocabulary at the share of tokens that is `masked`.
    """
    width, layers = config.hidden_size, config.num_hidden_layers
    inner = getattr(config, "intermediate_size", None) or 4 * width  # some families call it otherwise
    weights = config.vocab_size * width + layers * (4 * width**2 + 2 * width * inner)
    kept = weights * (PER_WEIGHT + 4 * (processes > 1))  # DDP has its own copy of the gradients
    model = AutoModel._model_mapping.get(type(config), None)
    attention = 0 if getattr(model, "_supports_sdpa", False) else 20 * config.num_attention_heads * length
    token = layers * (38 * width + 8 * inner + attention) + masked * 16 * config.vocab_size
    tokens = (USABLE * memory - kept) / token
    return int(min(TOKENS, max(LEAST, tokens // 512 * 512)))
