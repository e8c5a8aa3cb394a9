"""Question answering and multiple choice on encoders for which transformers has no such class (EuroBERT, gte, nomic_bert).

The class is made of the family's own PreTrainedModel when it is first asked for, so weights are initialised, saved and loaded as
those of its siblings, under a name as theirs (`EuroBertForQuestionAnswering`). A checkpoint is a plain Hugging Face directory:
AutoModel reads the encoder anywhere, the Auto class of the head reads all of it after `ensure_class`.
"""

import inspect

import torch
from torch import nn
from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForMultipleChoice,
    AutoModelForQuestionAnswering,
    AutoModelForTokenClassification,
)
from transformers.modeling_outputs import MultipleChoiceModelOutput, QuestionAnsweringModelOutput
from transformers.utils import can_return_tuple


class SpanHead:
    """Start and end of an answer: a linear layer on the last hidden states, as in every family of transformers that has one."""

    def __init__(self, config):
        super().__init__(config)
        setattr(self, self.base_model_prefix, bare_encoder(config))
        self.qa_outputs = nn.Linear(config.hidden_size, 2)
        self.post_init()

    @can_return_tuple
    def forward(self, input_ids=None, attention_mask=None, **inputs):
        """(batch, tokens) ids and what else the encoder takes -> start and end logits, (batch, tokens) each; the loss is the
        caller's."""
        outputs = self.base_model(input_ids=input_ids, attention_mask=attention_mask, return_dict=True, **inputs)
        start, end = self.qa_outputs(outputs.last_hidden_state).unbind(-1)
        return QuestionAnsweringModelOutput(
            start_logits=start, end_logits=end, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )


class ChoiceHead:
    """A score for each choice: the mean over attended tokens of the last layer, a dense layer, tanh, dropout, a linear layer.

    The mean, since these encoders were pretrained with masked tokens alone: nothing taught their first token to stand for a text.
    Its modules are one `classifier`: adapters find what is trained in full by name, and a `dense` is in many encoders too.
    """

    def __init__(self, config):
        super().__init__(config)
        setattr(self, self.base_model_prefix, bare_encoder(config))
        width, dropout = config.hidden_size, nn.Dropout(_dropout(config))
        self.classifier = nn.Sequential(nn.Linear(width, width), nn.Tanh(), dropout, nn.Linear(width, 1))
        self.post_init()

    @can_return_tuple
    def forward(self, input_ids=None, attention_mask=None, **inputs):
        """(batch, choices, tokens) ids and what else the encoder takes -> (batch, choices) logits; the loss is the caller's.

        `hidden_states` and `attentions`, where asked for, have batch x choices rows.
        """
        inputs |= {"input_ids": input_ids, "attention_mask": attention_mask}
        choices = (input_ids if input_ids is not None else inputs["inputs_embeds"]).shape[1]
        flat = {name: _flattened(part) for name, part in inputs.items()}
        outputs = self.base_model(**flat, return_dict=True)
        pooled = _mean(outputs.last_hidden_state, flat["attention_mask"])
        return MultipleChoiceModelOutput(
            logits=self.classifier(pooled).view(-1, choices),
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )


HEADS = {AutoModelForQuestionAnswering: SpanHead, AutoModelForMultipleChoice: ChoiceHead}


def ensure_class(auto_model, config):
    """The model class that an Auto class has for a configuration; made and registered there if transformers has none; None where
    there is none to be had: for another kind of head, and for what is no encoder of text."""
    mapping = auto_model._model_mapping
    if type(config) not in mapping and auto_model in HEADS and _encodes_text(config):
        encoder = AutoModel._model_mapping[type(config)]
        name = encoder.__name__.removesuffix("Model") + auto_model.__name__.removeprefix("AutoModel")
        made = type(name, (HEADS[auto_model], encoder.__base__), {"__module__": __name__})
        # Without exist_ok it silently passes over the library's own configurations.
        auto_model.register(type(config), made, exist_ok=True)
    return mapping.get(type(config), None)


def _encodes_text(config):
    """Whether a family is known to read in both directions and to have a hidden state per token: transformers fills its masks and
    labels its tokens. That leaves out decoders (no masks) and encoder-decoders (no labels)."""
    known = (AutoModel, AutoModelForMaskedLM, AutoModelForTokenClassification)
    # Those that also see images keep the sizes of their parts apart.
    return all(type(config) in auto._model_mapping for auto in known) and hasattr(config, "hidden_size")


def bare_encoder(config):
    """The family's bare encoder, without the pooler that some have: nothing here would train it."""
    encoder = AutoModel._model_mapping[type(config)]
    pooler = {"add_pooling_layer": False} if "add_pooling_layer" in inspect.signature(encoder).parameters else {}
    return encoder(config, **pooler)


def _dropout(config):
    """The rate in the head: the family's own, 0 where it has none (EuroBERT, whose own heads drop nothing either)."""
    rates = (getattr(config, name, None) for name in ("classifier_dropout", "hidden_dropout_prob"))
    return next((rate for rate in rates if rate is not None), 0.0)


def _flattened(part):
    """Inputs of every choice as rows of their own; what has no axis of choices (positions of all, a flag) stays."""
    return part.flatten(0, 1) if isinstance(part, torch.Tensor) and part.dim() > 2 else part


def _mean(hidden, mask):
    """(rows, tokens, width) -> (rows, width), the mean over attended tokens."""
    if mask is None:
        return hidden.mean(1)
    weights = mask.to(hidden.dtype).unsqueeze(-1)
    return (hidden * weights).sum(1) / weights.sum(1)
