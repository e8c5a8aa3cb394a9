"""Masked language modelling: masks that can be drawn again, a head that runs where it is needed, text that is text."""

import numpy as np
import pytest
import torch
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForMaskedLM

from xstilts import hub_rows, metrics, mlm
from xstilts.base import UserError
from xstilts.examples import featurize
from xstilts.metrics import score
from xstilts.mlm import forward, load_text, mask, text_task

LINES = [f"the {word} runs in the station of {word}" for word in "abcdefghijklmnopqrstuvwxyz"]


def write(path, lines):
    """A text file."""
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return str(path)


@pytest.fixture
def rows(tokenizer, tmp_path):
    """Features of some lines."""
    train, _ = load_text([write(tmp_path / "text.txt", LINES)], None, None)
    return list(featurize(text_task(0.15), train, tokenizer, {"max_seq_length": 32}))


# ---- masks ----------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.text(min_size=1, max_size=60), st.floats(0.01, 0.99), st.text(max_size=5))
def test_masks_hit_text_only_and_keep_what_stood_there(text, probability, time):
    from conftest import tiny_tokenizer

    tokenizer = tiny_tokenizer()
    ids = tokenizer(text)["input_ids"]
    if len(ids) == 2:
        return  # nothing but white space
    masked, positions, pieces = mask(ids, tokenizer, probability, time)
    assert positions
    assert positions == sorted(set(positions))
    assert all(
        ids[position] not in tokenizer.all_special_ids or tokenizer.unk_token_id == ids[position]
        for position in positions
    )
    assert pieces == [ids[position] for position in positions]
    assert [piece for i, piece in enumerate(masked) if i not in positions] == [
        piece for i, piece in enumerate(ids) if i not in positions
    ]
    assert mask(ids, tokenizer, probability, time) == (masked, positions, pieces)


def test_masks_are_drawn_in_the_declared_shares(tokenizer):
    """15 % of the pieces; of these 80 % become the mask, 10 % any piece, 10 % stay (Devlin et al. 2019)."""
    ids = tokenizer("the inner station " * 20)["input_ids"]
    plain, chosen, fates = 0, 0, {"mask": 0, "same": 0, "other": 0}
    for time in range(300):
        masked, positions, pieces = mask(ids, tokenizer, 0.15, str(time))
        plain, chosen = plain + len(ids) - 2, chosen + len(positions)
        for position, piece in zip(positions, pieces, strict=True):
            became = masked[position]
            fates["mask" if became == tokenizer.mask_token_id else "same" if became == piece else "other"] += 1
    assert chosen / plain == pytest.approx(0.15, abs=0.005)
    assert fates["mask"] / chosen == pytest.approx(0.8, abs=0.02)
    assert fates["same"] / chosen == pytest.approx(0.1, abs=0.02)


def test_masks_change_from_time_to_time_and_not_for_selection(tokenizer, rows):
    collate = text_task(0.15).type.collate
    first, again = collate(rows[:4], tokenizer), collate(rows[:4], tokenizer)
    torch.testing.assert_close(first["input_ids"], again["input_ids"])
    other = collate([{**row, "draw": "1 7"} for row in rows[:4]], tokenizer)
    assert not torch.equal(first["positions"], other["positions"])
    alone = collate(rows[2:3], tokenizer)  # a row's masks do not depend on its neighbours
    count = int((alone["labels"] != -100).sum())
    assert first["positions"][2, :count].tolist() == alone["positions"][0, :count].tolist()


# ---- the head on the masked positions -------------------------------------------------------------------------------


def test_the_head_sees_the_masked_positions_only(encoder, tokenizer, rows):
    model, batch = (
        AutoModelForMaskedLM.from_pretrained(encoder).eval(),
        text_task(0.3).type.collate(rows[:6], tokenizer),
    )
    labels = batch.pop("labels")
    found = forward(model, batch)["logits"]
    assert found.shape == (*labels.shape, len(tokenizer))
    whole = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    for row, (positions, targets) in enumerate(zip(batch["positions"], labels, strict=True)):
        for place, (position, target) in enumerate(zip(positions, targets, strict=True)):
            if target != -100:
                torch.testing.assert_close(found[row, place], whole[row, position], rtol=1e-5, atol=1e-5)
    assert not model.base_model._forward_hooks, "the next batch may be of another task"


def test_loss_and_accuracy_count_every_masked_piece_once():
    logits = torch.log(torch.tensor([[[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]], [[0.2, 0.2, 0.6], [1.0, 1.0, 1.0]]]))
    kept = mlm.keep({"logits": logits}, torch.tensor([[0, 2], [2, -100]]), {})
    predictions = mlm.decode(kept, {"example": [0, 1]}, ["", ""], ())
    assert [len(pieces) for pieces in predictions] == [2, 1]
    scores = score(metrics.MaskedPieces, predictions, ["", ""])
    assert scores["loss"] == pytest.approx(-np.mean(np.log([0.5, 0.1, 0.6])), rel=1e-5)
    assert scores["accuracy"] == pytest.approx(100 * 2 / 3)


# ---- text -----------------------------------------------------------------------------------------------------------


def test_a_twentieth_is_held_out_by_its_content(tmp_path):
    lines = [f"line {number}" for number in range(200)]
    train, dev = load_text([write(tmp_path / "a.txt", lines)], None, None)
    assert (len(train), len(dev)) == (190, 10)
    assert sorted([*train.rows["text"], *dev.rows["text"]]) == sorted(lines)
    _, shuffled = load_text([write(tmp_path / "b.txt", lines[::-1])], None, None)
    assert shuffled.rows["text"] == dev.rows["text"]
    repeated, held_out = load_text([write(tmp_path / "c.txt", lines * 3)], None, None)
    assert not {*repeated.rows["text"]} & {*held_out.rows["text"]}, "a line that occurs again would be seen in training"
    assert train.records[0] | {"fingerprint": ""} == {
        "task": "mlm", "split": "train", "language": "mul", "rows": 190, "published_rows": None,
        "files": ["a.txt"], "fingerprint": "",
    }  # fmt: skip


def test_a_long_line_becomes_several_rows(tokenizer, tmp_path):
    text = [*LINES, "station " * 60]
    train, dev = load_text([write(tmp_path / "text.txt", text)], None, None)
    whole = train if "station " * 60 in train.rows["text"] else dev
    rows = list(featurize(text_task(0.15), whole, tokenizer, {"max_seq_length": 16}))
    assert max(len(row["input_ids"]) for row in rows) <= 16
    pieces = [piece for row in rows for piece in row["input_ids"][1:-1]]
    assert len(pieces) == sum(
        len(ids) for ids in tokenizer(whole.rows["text"][:], add_special_tokens=False)["input_ids"]
    )


def test_rows_of_unknown_pieces_are_left_out(tokenizer, tmp_path):
    """There is nothing to guess in them, not even in the last row of a line that was cut."""
    text = [*LINES, "\u2603", "<unk>", "</s>", "the " * 15 + "\u2603"]
    train, dev = load_text([write(tmp_path / "text.txt", text)], None, None)
    collate = text_task(0.15).type.collate
    for examples in (train, dev):
        for row in featurize(text_task(0.15), examples, tokenizer, {"max_seq_length": 17}):
            assert (collate([row], tokenizer)["labels"] != -100).sum() >= 1


def test_blank_lines_and_byte_order_marks_are_no_text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n\r\n  \r\n".join(LINES).encode())
    train, dev = load_text([str(path)], None, None)
    assert sorted([*train.rows["text"], *dev.rows["text"]]) == sorted(LINES)


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "has no text"), (b"\n \n", "has no text"), (b"\xff\xfe", "not UTF-8")]
)
def test_files_without_text_are_named(tmp_path, content, message):
    good, bad = write(tmp_path / "good.txt", LINES), tmp_path / "bad.txt"
    bad.write_bytes(content)
    with pytest.raises(UserError, match=rf"bad\.txt.*{message}"):
        load_text([good, str(bad)], None, None)


def test_text_may_come_from_the_hub(monkeypatch):
    calls = []

    def load_dataset(name, config, split, revision):
        calls.append((name, config, split))
        if config == "none":
            raise ConnectionError("no route to host")
        return Dataset.from_dict({"text": [*LINES, "", " "], "url": ["x"] * (len(LINES) + 2)})

    monkeypatch.setattr(hub_rows, "load_dataset", load_dataset)
    train, dev = load_text(None, "wikimedia/wikipedia", "20231101.sw", 1)
    assert calls == [("wikimedia/wikipedia", "20231101.sw", "train")]
    assert sorted([*train.rows["text"], *dev.rows["text"]]) == sorted(LINES)
    assert train.records[0]["files"] == ["wikimedia/wikipedia/20231101.sw (train)"]
    with pytest.raises(UserError, match=r"hub cannot be reached for wikimedia/wikipedia/none .* or give files"):
        load_text(None, "wikimedia/wikipedia", "none")


def test_text_that_is_not_there_or_too_short(tmp_path):
    with pytest.raises(UserError, match=r"--mlm_text_files .*nothing\.txt cannot be read"):
        load_text([str(tmp_path / "nothing.txt")], None, None)
    with pytest.raises(UserError, match="3 lines of text are too few"):
        load_text([write(tmp_path / "short.txt", LINES[:3])], None, None)


@pytest.mark.parametrize("probability", [0, 1, -0.1, 1.5])
def test_a_share_of_masks_lies_between_none_and_all(probability):
    with pytest.raises(UserError, match=f"--mlm_probability {probability}"):
        text_task(probability)
