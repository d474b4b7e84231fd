"""A GGUF file becomes a plain folder whose model says what the file's did; bad files are refused by name."""

import gguf_models
import pytest
import torch

from afd_study.errors import DataError, SpecError
from afd_study.models.gguf_files import convert
from afd_study.models.policy import pretrained
from afd_study.models.specs import ModelSpec


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return gguf_models.write(gguf_models.llama(), tmp_path_factory.mktemp("gguf") / "tiny.gguf")


@pytest.fixture(scope="module")
def folder(file):
    convert(file, file.parent / "plain")
    return file.parent / "plain"


def test_the_folder_is_a_policy_with_the_weights_of_the_file(folder):
    lm, tokenizer = pretrained(ModelSpec(name_or_path=str(folder)))
    ids = torch.tensor([[1, 7, 30, 44, 100, 5]])
    expected = gguf_models.llama()(ids).logits
    n = expected.shape[-1]
    torch.testing.assert_close(lm(ids).logits[..., :n], expected, atol=1e-5, rtol=1e-4)
    assert lm.dtype == torch.float32 and tokenizer.eos_token == gguf_models.END


def test_the_folder_holds_the_chat_template_and_no_word_of_quantisation(folder):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.chat_template == gguf_models.TEMPLATE
    assert tokenizer.decode(tokenizer("hello lo")["input_ids"]) == "hello lo"
    assert "quantization" not in (folder / "config.json").read_text()
    assert not list(folder.parent.glob(".plain*"))  # nothing unfinished is left


@pytest.mark.parametrize("kept", [2, 40, 3000, 0.6])
def test_a_cut_file_is_refused(kept, file, tmp_path):
    data = file.read_bytes()
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(data[: int(kept * len(data)) if kept < 1 else kept])
    with pytest.raises(DataError, match="cut.gguf"):
        convert(cut, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "x.gguf").write_text("words")
    with pytest.raises(DataError, match="no GGUF file"):
        convert(tmp_path / "x.gguf", tmp_path / "out")
    with pytest.raises(DataError, match="cannot be read"):
        convert(tmp_path / "absent.gguf", tmp_path / "out")


def test_an_unknown_architecture_and_a_lacking_tokenizer_are_named(tmp_path):
    strange = gguf_models.write(gguf_models.llama(), tmp_path / "a.gguf", architecture="strange")
    with pytest.raises(SpecError, match="'strange'.*llama"):
        convert(strange, tmp_path / "out")
    mute = gguf_models.write(gguf_models.llama(), tmp_path / "b.gguf", tokenizer=False)
    with pytest.raises(DataError, match="no tokenizer"):
        convert(mute, tmp_path / "out")


def test_too_little_memory_is_said_before_anything_is_read(file, tmp_path):
    with pytest.raises(SpecError, match="GB of memory"):
        convert(file, tmp_path / "out", memory=lambda: 1000)
    convert(file, tmp_path / "out", memory=lambda: None)  # where nobody knows, it is tried
    assert (tmp_path / "out" / "config.json").is_file()
