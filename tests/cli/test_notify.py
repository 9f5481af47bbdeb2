"""The command that hears how the batch went: real shells."""

import json
import os
import shlex
import sys
import time

import pytest

from render.cli.notify import notify
from render.errors import RenderError

RECORD = {"done": 3, "output": "Käse & prints", "failed": [{"what": "a", "why": "'quoted' $HOME `x`"}]}


def test_the_command_gets_one_line_of_json_whatever_is_in_it(tmp_path):
    notify(f"cat > {tmp_path}/out", RECORD)
    (line,) = (tmp_path / "out").read_text(encoding="utf-8").splitlines()
    assert json.loads(line) == RECORD


def test_the_shell_understands_pipes(tmp_path):
    notify(f"wc -l | tr -d ' ' > {tmp_path}/out && echo more >> {tmp_path}/out", RECORD)
    assert (tmp_path / "out").read_text() == "1\nmore\n"


@pytest.mark.parametrize("command", ["true", "exec <&-", "sleep 0.1"])
def test_a_command_that_never_reads_is_fine_even_with_more_than_a_pipe_holds(command):
    notify(command, {"failed": ["x" * 1_000_000]})


@pytest.mark.parametrize(("command", "status"), [("exit 3", 3), ("no-such-program-here", 127)])
def test_a_command_that_fails_is_named_with_its_status(command, status):
    with pytest.raises(RenderError, match=f"--notify {command}: ended with status {status}"):
        notify(command, RECORD)


def test_a_command_that_hangs_is_ended_with_all_that_it_started(tmp_path):
    python = (
        f'{shlex.quote(sys.executable)} -c \'import os, time; open("{tmp_path}/pid", '
        f'"w").write(str(os.getpid())); time.sleep(600)\''
    )
    with pytest.raises(RenderError, match="took longer than 3 s"):
        notify(f"{python} & wait", RECORD, timeout_s=3)
    pid = int((tmp_path / "pid").read_text())
    for _ in range(100):  # the system clears it away a moment later
        if not alive(pid):
            break
        time.sleep(0.05)
    assert not alive(pid)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().split(")")[1].split()[0] != "Z"  # killed, and nobody has asked for it yet
    except OSError:
        return os.path.exists(f"/proc/{pid}")


def test_what_the_command_prints_is_not_mixed_with_json(capfd):
    notify("echo told", RECORD)
    out, err = capfd.readouterr()
    assert (out, err) == ("", "told\n")
