"""The families of encoders in docs/encoders.md, tiny and random, each with its own kind of vocabulary, built in memory.

Normalizers and pre-tokenizers are those of the published ones: of the classes in transformers where there is one (which set
them whatever the vocabulary), of Gemma 2 for mmBERT, of Llama 3 for EuroBERT.
"""

import json
import random

from conftest import CHARACTERS, tiny_tokenizer
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertTokenizer,
    DebertaV2Config,
    DebertaV2Tokenizer,
    EuroBertConfig,
    ModernBertConfig,
    PreTrainedTokenizerFast,
    RemBertConfig,
    RemBertTokenizer,
    XLMRobertaConfig,
    XLMRobertaXLConfig,
)

SIZES = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24}
WORDS = "the an in er on st".split()
# Of Llama 3's tokenizer.json.
LLAMA_3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def scored(*specials):
    """Pieces with scores for a Unigram vocabulary: specials, all characters, alone and at the beginning of a word."""
    found = [(piece, 0.0) for piece in specials] + [("▁", -2.0)]
    found += [(text, -3.0) for c in dict.fromkeys(CHARACTERS) for text in (c, f"▁{c}")]
    return found + [(f"{start}{word}", -4.0) for word in WORDS for start in ("", "▁")]


def wordpiece():
    """mBERT's: cased, Chinese characters and punctuation alone."""
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces += [f"{start}{text}" for text in [*dict.fromkeys(CHARACTERS), *WORDS] for start in ("", "##")]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    return BertTokenizer(vocab=vocabulary, do_lower_case=False, model_max_length=512)


def text(seed=0):
    """Lines of short words in all scripts there are, to learn merges from."""
    rng = random.Random(seed)
    stems = WORDS + ["".join(rng.choices(CHARACTERS, k=rng.randint(1, 4))) for _ in range(60)]
    return [" ".join(rng.choices(stems, k=8)) for _ in range(80)]


def trained(pre_tokenizer, alphabet, specials, size):
    """(vocabulary, merges) of a BPE."""
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizer
    trainer = trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=alphabet, special_tokens=specials, show_progress=False
    )
    learner.train_from_iterator(text(), trainer)
    model = json.loads(learner.to_str())["model"]
    return model["vocab"], [tuple(merge) for merge in model["merges"]]


def finished(tokenizer, start, end, **specials):
    """With special tokens around a text, and between two."""
    ids = [(token, tokenizer.token_to_id(token)) for token in (start, end)]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}", pair=f"{start} $A {end} $B:1 {end}:1", special_tokens=ids
    )
    names = ["input_ids", "attention_mask"]
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_input_names=names, model_max_length=256, **specials
    )


def gemma():
    """mmBERT's: spaces become ▁ and nothing is split before the merges, which never reach over one; bytes for what is unknown."""
    specials = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *(f"<0x{byte:02X}>" for byte in range(256))]
    vocabulary, merges = trained(pre_tokenizers.Metaspace(prepend_scheme="never"), list(CHARACTERS), specials, 700)
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, fuse_unk=True, byte_fallback=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    names = {
        "bos_token": "<bos>",
        "eos_token": "<eos>",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
        "mask_token": "<mask>",
    }
    return finished(tokenizer, "<bos>", "<eos>", **names)


def llama_3():
    """EuroBERT's: bytes, no unknown token, and the token of the end fills up."""
    specials = ["<|begin_of_text|>", "<|end_of_text|>", "<|mask|>"]
    bytewise = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(LLAMA_3), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
    )
    vocabulary, merges = trained(bytewise, pre_tokenizers.ByteLevel.alphabet(), specials, 500)
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, ignore_merges=True))
    tokenizer.pre_tokenizer, tokenizer.decoder = bytewise, decoders.ByteLevel()
    mask = AddedToken("<|mask|>", lstrip=True, special=True)
    begin, end = specials[:2]
    return finished(tokenizer, begin, end, bos_token=begin, eos_token=end, pad_token=end, mask_token=mask)


def xlm_roberta(tokenizer, config=XLMRobertaConfig):
    """The configuration of XLM-R, or of its large ones."""
    return config(**SIZES, vocab_size=len(tokenizer), max_position_embeddings=258, type_vocab_size=1, pad_token_id=1)


def deberta(tokenizer):
    """mDeBERTa-v3's options."""
    return DebertaV2Config(
        **SIZES, vocab_size=len(tokenizer), max_position_embeddings=256, type_vocab_size=0, relative_attention=True,
        position_buckets=16, norm_rel_ebd="layer_norm", share_att_key=True, pos_att_type=["p2c", "c2p"],
        position_biased_input=False, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip


def modernbert(tokenizer):
    """mmBERT's options."""
    return ModernBertConfig(
        **SIZES, vocab_size=len(tokenizer), max_position_embeddings=256, global_attn_every_n_layers=3, local_attention=16,
        classifier_pooling="mean", pad_token_id=0, eos_token_id=1, bos_token_id=2, cls_token_id=1, sep_token_id=1,
    )  # fmt: skip


def eurobert(tokenizer):
    """EuroBERT's options, with shared keys and values as in its 2.1B."""
    return EuroBertConfig(
        **SIZES, vocab_size=len(tokenizer), max_position_embeddings=256, num_key_value_heads=1, bos_token_id=0,
        eos_token_id=1, pad_token_id=1, mask_token_id=2,
    )  # fmt: skip


def bert(tokenizer):
    """mBERT's and LaBSE's."""
    return BertConfig(**SIZES, vocab_size=len(tokenizer), max_position_embeddings=256, pad_token_id=0)


def rembert(tokenizer):
    """RemBERT's: embeddings of another width, and a wider output."""
    sizes = {"input_embedding_size": 8, "output_embedding_size": 24}
    return RemBertConfig(**SIZES, **sizes, vocab_size=len(tokenizer), max_position_embeddings=256, pad_token_id=0)


# What is published under each is in docs/encoders.md.
TOKENIZERS = {
    "xlm-roberta": tiny_tokenizer,
    "bert": wordpiece,
    "deberta-v2": lambda: DebertaV2Tokenizer(
        vocab=[*scored("[PAD]", "[CLS]", "[SEP]", "[UNK]"), ("[MASK]", 0.0)], model_max_length=512
    ),
    "modernbert": gemma,
    "eurobert": llama_3,
    "rembert": lambda: RemBertTokenizer(
        vocab=[*scored("[PAD]", "[CLS]", "<unk>", "[SEP]", "[UNK]"), ("[MASK]", 0.0)],
        unk_token="<unk>", model_max_length=512,
    ),
}  # fmt: skip
FAMILIES = {
    "xlm-roberta": ("xlm-roberta", xlm_roberta),
    "xlm-roberta-xl": ("xlm-roberta", lambda tokenizer: xlm_roberta(tokenizer, XLMRobertaXLConfig)),
    "bert": ("bert", bert),
    "deberta-v2": ("deberta-v2", deberta),
    "modernbert": ("modernbert", modernbert),
    "eurobert": ("eurobert", eurobert),
    "rembert": ("rembert", rembert),
}
