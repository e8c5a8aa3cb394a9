"""How well vocabulary and length fit a language, measured on the inputs of a task."""


def inputs_of(task, examples):
    """Every input of a task's examples as a tuple of texts, for `coverage`."""
    return [each for example in examples.rows for each in task.type.texts(example)]


def coverage(inputs, tokenizer, max_seq_length):
    """How well the vocabulary and the length fit a language, the strongest confounds of transfer.

    `inputs` are tuples of texts: a sentence, a pair, or the words of a sentence. Returns sub-words per word (words as white space
    or the treebank divides them; for Thai, Chinese and Japanese compare `subwords_per_character`), the share of unknown
    pieces, and the share of inputs that do not fit into `max_seq_length` and are therefore cut, or for tagging and QA read in
    windows.
    """
    flat = [text for each in inputs for text in each]
    pieces = tokenizer(flat, add_special_tokens=False)["input_ids"]
    lengths = iter(pieces)
    needed = [sum(len(next(lengths)) for _ in each) + special_tokens_of(each, tokenizer) for each in inputs]
    total = max(1, sum(map(len, pieces)))
    return {
        "subwords_per_word": round(total / max(1, sum(len(text.split()) for text in flat)), 4),
        "subwords_per_character": round(total / max(1, sum(map(len, flat))), 4),
        "unknown_share": round(sum(ids.count(tokenizer.unk_token_id) for ids in pieces) / total, 6),
        "too_long_share": round(sum(length > max_seq_length for length in needed) / len(inputs), 6),
    }


def special_tokens_of(texts, tokenizer):
    """How many special tokens an input gets: a pair of texts has separators between them."""
    return tokenizer.num_special_tokens_to_add(pair=len(texts) == 2)
