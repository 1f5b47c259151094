"""Tiny tokenizers of several families, trained in memory on a few sentences, and random models that read with them."""

import functools

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForSequenceClassification,
    T5Config,
    T5ForConditionalGeneration,
)

TEXTS = [
    "the film was unbelievably good and the cast was dull",
    "a premise says that the story moves , a hypothesis that it does not",
    "don't stop : café naïve résumé 漢字 good good film film film",
] * 4

FAMILIES = ("wordpiece", "gpt2", "roberta", "t5", "llama")


@functools.cache
def tokenizer(family):
    """A fast tokenizer that takes texts apart as this family does."""
    match family:
        case "wordpiece":
            return _wordpiece()
        case "gpt2":
            return _byte_level(trim_offsets=False, around="$A", pair="$A $B:1")
        case "roberta":
            return _byte_level(trim_offsets=True, around="<s> $A </s>", pair="<s> $A </s> </s> $B </s>")
        case "t5":
            return _unigram()
        case "llama":
            return _byte_fallback()
    raise ValueError(family)


MODELS = {
    BertForSequenceClassification: ("wordpiece", BertConfig),
    BertForMaskedLM: ("wordpiece", BertConfig),
    RobertaForSequenceClassification: ("roberta", RobertaConfig),
    GPT2ForSequenceClassification: ("gpt2", GPT2Config),
    GPT2LMHeadModel: ("gpt2", GPT2Config),
    LlamaForSequenceClassification: ("llama", LlamaConfig),
    LlamaForCausalLM: ("llama", LlamaConfig),
    T5ForConditionalGeneration: ("t5", T5Config),
    BartForConditionalGeneration: ("roberta", BartConfig),
}
"""The tokenizer and the config of every model that tests are run on."""

CLASSIFIERS = tuple(kind for kind in MODELS if kind.__name__.endswith("Classification"))


WRITERS = {
    T5Config: {"decoder_start_token_id": 0, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2},
    BartConfig: {
        "decoder_start_token_id": 2,
        "bos_token_id": 1,
        "d_model": 16,
        **{f"{part}_layers": 2 for part in ("encoder", "decoder")},
        **{f"{part}_ffn_dim": 32 for part in ("encoder", "decoder")},
        **{f"{part}_attention_heads": 2 for part in ("encoder", "decoder")},
        "max_position_embeddings": 64,
    },
}
"""Sizes and start token of the encoder-decoders that write text."""


def model(kind, **options):
    """A random model of two layers in evaluation mode, and its tokenizer; GPT-2 and Llama have no padding token."""
    family, config = MODELS[kind]
    words = tokenizer(family)
    if config in WRITERS:
        options = {"vocab_size": len(words), "pad_token_id": words.pad_token_id, **WRITERS[config], **options}
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return kind(config(eos_token_id=words.eos_token_id, **options)).eval(), words
    sizes = {"vocab_size": len(words), "hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 2}
    named = {"pad_token_id": words.pad_token_id, "eos_token_id": None, "bos_token_id": None}
    if config is GPT2Config:
        named["pad_token_id"] = None
    else:
        sizes["intermediate_size"] = 32
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return kind(config(**sizes, **named, **options)).eval(), words


def _wordpiece():
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    made.train_from_iterator(TEXTS, trainers.WordPieceTrainer(vocab_size=90, special_tokens=special, **QUIET))
    named = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    types = ["input_ids", "token_type_ids", "attention_mask"]
    return _fast(made, "[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", model_input_names=types, **named)


def _byte_level(*, trim_offsets, around, pair):
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    bytes_ = pre_tokenizers.ByteLevel.alphabet()
    special = ["<pad>", "<s>", "</s>"]
    trainer = trainers.BpeTrainer(vocab_size=320, initial_alphabet=bytes_, special_tokens=special, **QUIET)
    made.train_from_iterator(TEXTS, trainer)
    trim = processors.ByteLevel(trim_offsets=trim_offsets)
    return _fast(made, around, pair, first=[trim], pad_token="<pad>", bos_token="<s>", eos_token="</s>")


def _unigram():
    made = Tokenizer(models.Unigram())
    made.normalizer = normalizers.NFKC()
    made.pre_tokenizer, made.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    special = ["<pad>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(vocab_size=80, unk_token="<unk>", special_tokens=special, **QUIET)
    made.train_from_iterator(TEXTS, trainer)
    return _fast(made, "$A </s>", "$A </s> $B </s>", pad_token="<pad>", eos_token="</s>", unk_token="<unk>")


def _byte_fallback():
    """Without a pre-tokenizer the whole text is one word to it, and a piece may reach over white space."""
    made = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=340, special_tokens=special, max_token_length=6, **QUIET)
    made.train_from_iterator(TEXTS, trainer)
    return _fast(made, "<s> $A", "<s> $A <s> $B:1", unk_token="<unk>", bos_token="<s>", eos_token="</s>")


QUIET = {"show_progress": False}


def _fast(made, around, pair, *, first=(), model_input_names=("input_ids", "attention_mask"), **special):
    named = [(token, made.token_to_id(token)) for token in special.values()]
    template = processors.TemplateProcessing(single=around, pair=pair, special_tokens=named)
    made.post_processor = processors.Sequence([*first, template])
    return PreTrainedTokenizerFast(tokenizer_object=made, model_input_names=list(model_input_names), **special)
