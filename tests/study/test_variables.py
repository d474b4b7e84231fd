"""A variable that would change results stops each command before it does anything."""

import sys

import pytest

from afd_study.study.__main__ import main

COMMANDS = {
    "run": ["run", "--task", "harmless", "--profile", "smoke"],
    "a dry run": ["run", "--task", "harmless", "--profile", "smoke", "--dry-run"],
    "prepare": ["prepare", "--profile", "smoke"],
    "claims": ["claims"],
    "results": ["results", "--what", "ledger"],
    "store": ["store", "show"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_it_is_refused_at_the_start_of_every_command(command, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("AFD_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")
    monkeypatch.setattr(sys, "argv", ["afd", *COMMANDS[command]])
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr()
    assert ended.value.code == 2 and printed.out == "" and not (tmp_path / "store").exists()
    assert printed.err.startswith("afd: the environment variable ATEN_CPU_CAPABILITY is set")
    assert printed.err.count("\n") == 1
