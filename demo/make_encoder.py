"""Make a small XLM-R from text: a SentencePiece vocabulary, then masked language modelling on text and translations.

    python demo/make_encoder.py --text_files world/text/*.txt --parallel world/parallel/* --output_dir encoder
    python demo/make_encoder.py --text_files ntrex128/*.txt --output_dir encoder47

Works on any text, one sentence or short document per line. The result is a plain Hugging Face checkpoint with its
language modelling head and tokenizer, and a `pretraining.json` that says how it was made.
"""

import argparse
import io
import json
import sys
import time
from itertools import chain
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import sentencepiece
import torch
import transformers
from sentencepiece import sentencepiece_model_pb2
from torch.nn.functional import cross_entropy
from transformers import (
    AddedToken,
    Trainer,
    TrainingArguments,
    XLMRobertaConfig,
    XLMRobertaForMaskedLM,
    XLMRobertaTokenizer,
    set_seed,
)

from xstilts.base import UserError, run_script, words_given

FIRST_POSITION = 2  # XLM-R counts positions from padding_idx + 1


def read_lines(path):
    """The lines of a UTF-8 text file without those that are blank; UserError if the file or its text is missing."""
    lines = read_all_lines(path)
    lines = [line for line in lines if line.strip()]
    if not lines:
        raise UserError(f"{path} has no text; leave it out or fill it")
    return lines


def read_all_lines(path):
    try:
        return Path(path).read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path} as UTF-8 text: {error}") from error


def read_pairs(paths):
    """Line-aligned files, taken two by two -> list of (line, line); pairs with a blank side are not pairs."""
    if len(paths) % 2:
        raise UserError(
            f"--parallel needs line-aligned files two by two, got {len(paths)} files; the last is {paths[-1]}"
        )
    pairs = []
    for first, second in zip(paths[::2], paths[1::2], strict=True):
        one, other = read_all_lines(first), read_all_lines(second)
        if len(one) != len(other):
            raise UserError(f"{first} has {len(one)} lines but {second} has {len(other)}; they must be line-aligned")
        pairs += [(a, b) for a, b in zip(one, other, strict=True) if a.strip() and b.strip()]
        if not pairs:
            raise UserError(f"{first} and {second} have no line that is filled in both")
    return pairs


def train_tokenizer(lines, vocab_size, model_max_length):
    """A tokenizer as XLM-R's: unigram pieces, its NFKC normalisation, <s> <pad> </s> <unk> first and <mask> last.

    `vocab_size` counts the special tokens and is an upper bound: little text has fewer pieces.
    """
    file = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=file, vocab_size=vocab_size - 2, model_type="unigram",
        normalization_rule_name="nmt_nfkc", hard_vocab_limit=False, num_threads=1, minloglevel=2,
        max_sentence_length=1 << 16,
    )  # fmt: skip
    proto = sentencepiece_model_pb2.ModelProto.FromString(file.getvalue())
    learned = [(piece.piece, piece.score) for piece in proto.pieces if piece.type == piece.NORMAL]
    special = [(token, 0.0) for token in ("<s>", "<pad>", "</s>", "<unk>")]
    return XLMRobertaTokenizer(
        vocab=[*special, *learned, ("<mask>", 0.0)],
        mask_token=AddedToken("<mask>", lstrip=True, special=True),
        model_max_length=model_max_length,
        _spm_precompiled_charsmap=proto.normalizer_spec.precompiled_charsmap,
    )


class PretrainingText(torch.utils.data.Dataset):
    """Sequences of token ids with their positions: single lines and, as every second one, translation pairs.

    Lines longer than `max_seq_length` are cut into consecutive sequences. In a pair the second sentence counts its
    positions from the start again, as in XLM's translation language modelling (Lample and Conneau 2019), which is what
    brings words that translate each other together; each pair is seen in both directions.
    """

    def __init__(self, tokenizer, lines, pairs, max_seq_length):
        self.tokenizer, self.limit = tokenizer, max_seq_length
        self.single = [part for ids in self.tokenize(lines) for part in self.cut(ids)]
        sides = [self.tokenize(side) for side in zip(*pairs, strict=True)] if pairs else [[], []]
        both = [pair for pair in zip(*sides, strict=True) if len(pair[0]) + len(pair[1]) + 4 <= max_seq_length]
        self.pairs = both + [(second, first) for first, second in both]
        self.left_out = len(pairs) - len(both)
        self.lengths = [len(self[i]["input_ids"]) for i in range(len(self))]

    def tokenize(self, lines):
        return self.tokenizer(list(lines), add_special_tokens=False, verbose=False).input_ids

    def cut(self, ids):
        return [ids[start : start + self.limit - 2] for start in range(0, len(ids), self.limit - 2)]

    def __len__(self):
        return 2 * max(len(self.single), len(self.pairs)) if self.pairs else len(self.single)

    def __getitem__(self, index):
        if index >= len(self):
            raise IndexError(index)  # what ends a plain loop over the data set
        start, end = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        if not self.pairs:
            sequences = [[start, *self.single[index], end]]
        elif index % 2:
            first, second = self.pairs[index // 2 % len(self.pairs)]
            sequences = [[start, *first, end], [end, *second, end]]
        else:
            sequences = [[start, *self.single[index // 2 % len(self.single)], end]]
        positions = [FIRST_POSITION + i for sequence in sequences for i in range(len(sequence))]
        return {"input_ids": list(chain.from_iterable(sequences)), "position_ids": positions}


class MaskingCollator:
    """Pads a list of sequences and masks it: of the chosen tokens 80 % become <mask>, 10 % another piece, 10 % stay.

    Returns input_ids, attention_mask, position_ids and labels, all int64 (sequences, length); labels are -100 where
    nothing is predicted. Masks come from torch's global generator, which the Trainer seeds.
    """

    def __init__(self, tokenizer, probability):
        self.tokenizer, self.probability = tokenizer, probability

    def __call__(self, examples):
        length, pad = max(len(e["input_ids"]) for e in examples), self.tokenizer.pad_token_id
        ids = torch.full((len(examples), length), pad)
        positions = torch.full((len(examples), length), FIRST_POSITION - 1)
        for row, example in enumerate(examples):
            ids[row, : len(example["input_ids"])] = torch.tensor(example["input_ids"])
            positions[row, : len(example["input_ids"])] = torch.tensor(example["position_ids"])
        masked, labels = self.mask(ids)
        return {"input_ids": masked, "attention_mask": (ids != pad).long(), "position_ids": positions, "labels": labels}

    def mask(self, ids):
        """(masked ids, labels), both of the shape of `ids`; special tokens are never chosen."""
        special = torch.isin(ids, torch.tensor(self.tokenizer.all_special_ids))
        chosen = (torch.rand(ids.shape) < self.probability) & ~special
        how = torch.rand(ids.shape)
        masked = torch.where(chosen & (how < 0.8), self.tokenizer.mask_token_id, ids)
        other = torch.randint(4, len(self.tokenizer) - 1, ids.shape)
        return torch.where(chosen & (how > 0.9), other, masked), torch.where(chosen, ids, -100)


class BatchesOfLikeLength(torch.utils.data.Sampler):
    """An order of the data in which every `batch_size` neighbours are of like length, and the batches are mixed.

    The Trainer's own grouping by length goes from long to short again and again, so that text and pairs would alternate
    in long stretches. Draws from torch's global generator, which the Trainer seeds.
    """

    def __init__(self, lengths, batch_size, pool=50):
        self.lengths, self.batch_size, self.pool = lengths, batch_size, pool * batch_size

    def __len__(self):
        return len(self.lengths)

    def __iter__(self):
        order, batches = torch.randperm(len(self)).tolist(), []
        for start in range(0, len(order), self.pool):
            alike = sorted(order[start : start + self.pool], key=self.lengths.__getitem__)
            batches += [alike[i : i + self.batch_size] for i in range(0, len(alike), self.batch_size)]
        last = batches.pop()  # may be short, which would shift all that follow
        for i in torch.randperm(len(batches)).tolist():
            yield from batches[i]
        yield from last


class MaskedLmTrainer(Trainer):
    """The Trainer, with batches of like length and the head, the costliest layer, run on the chosen tokens only."""

    def _get_train_sampler(self, train_dataset=None):
        return BatchesOfLikeLength(self.train_dataset.lengths, self.args.train_batch_size)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """Mean cross-entropy over the chosen tokens of the batch; `return_outputs` is not used in training."""
        labels = inputs.pop("labels")
        hidden = model.roberta(**inputs).last_hidden_state
        chosen = labels != -100
        return cross_entropy(model.lm_head(hidden[chosen]), labels[chosen])


def make_model(args, tokenizer):
    """A fresh XLM-R of the size asked for, with tied embeddings and the tokenizer's special ids."""
    config = XLMRobertaConfig(
        vocab_size=len(tokenizer), hidden_size=args.hidden_size, num_hidden_layers=args.num_hidden_layers,
        num_attention_heads=args.num_attention_heads, intermediate_size=4 * args.hidden_size,
        max_position_embeddings=args.max_position_embeddings, type_vocab_size=1, layer_norm_eps=1e-5,
        bos_token_id=tokenizer.bos_token_id, pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id,
        hidden_dropout_prob=args.dropout, attention_probs_dropout_prob=args.dropout,
    )  # fmt: skip
    return XLMRobertaForMaskedLM(config)


def training_arguments(args):
    return TrainingArguments(
        output_dir=args.output_dir, max_steps=args.max_steps, learning_rate=args.learning_rate, seed=args.seed,
        per_device_train_batch_size=args.per_device_train_batch_size, warmup_steps=0.05, weight_decay=0.01,
        adam_beta2=0.98, adam_epsilon=1e-6, max_grad_norm=1.0, lr_scheduler_type="linear", save_strategy="no",
        logging_steps=max(1, args.max_steps // 40), report_to="none", use_cpu=not torch.cuda.is_available(),
        remove_unused_columns=False,
    )  # fmt: skip


def parse_arguments(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text_files", nargs="+", required=True, help="UTF-8 text, one line per sentence or document")
    parser.add_argument("--parallel", nargs="+", default=[], help="line-aligned files, two by two: translation pairs")
    parser.add_argument("--output_dir", required=True)
    parser.add_argument("--vocab_size", type=int, default=8000)
    parser.add_argument("--hidden_size", type=int, default=128)
    parser.add_argument("--num_hidden_layers", type=int, default=4)
    parser.add_argument("--num_attention_heads", type=int, default=4)
    parser.add_argument("--max_position_embeddings", type=int, default=514)
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--max_seq_length", type=int, default=128)
    parser.add_argument("--max_steps", type=int, default=600)
    parser.add_argument("--per_device_train_batch_size", type=int, default=64)
    parser.add_argument("--learning_rate", type=float, default=2e-3)
    parser.add_argument("--mlm_probability", type=float, default=0.3)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(words_given(argv))


def main(argv=None):
    args = parse_arguments(argv)
    if args.max_seq_length > args.max_position_embeddings - FIRST_POSITION:
        raise UserError(
            f"--max_seq_length {args.max_seq_length} is more than --max_position_embeddings allows (2 less)"
        )
    started = time.time()
    lines = [line for path in args.text_files for line in read_lines(path)]
    pairs = read_pairs(args.parallel)
    set_seed(args.seed)
    tokenizer = train_tokenizer(lines, args.vocab_size, args.max_position_embeddings - FIRST_POSITION)
    text = PretrainingText(tokenizer, lines, pairs, args.max_seq_length)
    print(
        f"{len(tokenizer)} pieces, {len(text.single)} sequences, {len(pairs)} pairs ({text.left_out} too long, left out)"
    )
    model = make_model(args, tokenizer)
    collator = MaskingCollator(tokenizer, args.mlm_probability)
    result = MaskedLmTrainer(model, training_arguments(args), collator, text).train()
    model.save_pretrained(args.output_dir)
    tokenizer.save_pretrained(args.output_dir)
    record = vars(args) | {"loss": round(result.training_loss, 4), "seconds": round(time.time() - started)}
    record |= {key: [Path(path).name for path in getattr(args, key)] for key in ("text_files", "parallel")}
    record |= {"versions": {m.__name__: m.__version__ for m in (torch, transformers, sentencepiece)}}
    Path(args.output_dir, "pretraining.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    run_script(main)
