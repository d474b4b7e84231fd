"""Units for bfloat16 are looked for without a word of it becoming a fault on another system."""

import platform

import pytest
import torch

from afd_study.models.processor import has_bfloat16_units

X86, ARM = "processor\t: 0\nflags\t\t: fpu avx512f {}\n", "processor\t: 0\nFeatures\t: fp asimd {}\n"
NAMES = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")


@pytest.fixture(autouse=True)
def _torch_knows_nothing(monkeypatch):
    for name in NAMES:
        monkeypatch.delattr(torch.cpu, name, raising=False)


@pytest.mark.parametrize(
    ("text", "has"),
    [
        (X86.format("avx512_bf16"), True),
        (X86.format("amx_bf16"), True),
        (X86.format("avx512_vnni"), False),
        (ARM.format("bf16"), True),
        (ARM.format("sve"), False),
        ("model name : strange\n", None),
    ],
)
def test_the_system_says_what_the_processor_has(text, has, tmp_path, monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    (tmp_path / "cpuinfo").write_text(text)
    assert has_bfloat16_units(tmp_path / "cpuinfo") is has


def test_nobody_knows_where_neither_says(tmp_path, monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    assert has_bfloat16_units(tmp_path / "none") is None
    monkeypatch.setattr(platform, "machine", lambda: "AMD64")
    assert has_bfloat16_units(tmp_path / "none") is None  # this torch cannot be asked


@pytest.mark.parametrize(("yes", "has"), [(None, False), *((name, True) for name in NAMES)])
def test_torch_is_believed_where_the_system_says_nothing(yes, has, tmp_path, monkeypatch):
    for name in NAMES:
        monkeypatch.setattr(torch.cpu, name, lambda name=name: name == yes, raising=False)
    monkeypatch.setattr(platform, "machine", lambda: "AMD64")
    assert has_bfloat16_units(tmp_path / "none") is has


def test_a_torch_that_fails_when_asked_is_no_fault(tmp_path, monkeypatch):
    def fail():
        raise RuntimeError("not here")

    monkeypatch.setattr(torch.cpu, NAMES[0], fail, raising=False)
    (tmp_path / "cpuinfo").write_text(X86.format("amx_bf16"))
    assert has_bfloat16_units(tmp_path / "cpuinfo") is True
