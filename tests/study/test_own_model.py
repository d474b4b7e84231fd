"""A policy of one's own: one flag, and the study runs on a Hugging Face folder."""

import json
import sys

import standins

from afd_study.study.__main__ import main


def test_a_folder_is_a_policy_by_one_flag(own_file, tmp_path, monkeypatch, capsys):
    folder = standins.policy(tmp_path / "policy", gemma=False)
    monkeypatch.setenv("AFD_STORE", str(tmp_path / "store"))
    words = [
        "run",
        "--task",
        "own_data",
        "--profile",
        "smoke",
        "--jobs",
        "1",
        "--json",
        "--model",
        str(folder),
    ]
    monkeypatch.setattr(sys, "argv", ["afd", *words, "--set", f"world.demonstrations={own_file}"])
    main()
    rows = json.loads(capsys.readouterr().out)
    assert {row["scorer"] for row in rows} == {"init_sft", "init_demo", "sft_demo"}
