"""A program that asks a server may give it up."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys

from tests.patience import LONG_S, SOON_S


def test_who_asks_may_leave_before_the_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        command = [sys.executable, "-m", "streamcap", "ask", address, "door", "Who came?", "--timeout", str(LONG_S)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as asking:
            try:
                silent.settimeout(LONG_S)
                reached, _ = silent.accept()
                with reached:
                    reached.settimeout(LONG_S)
                    assert reached.recv(4096)  # it waits for the answer now
                    asking.send_signal(signal.SIGINT)
                    said = asking.communicate(timeout=SOON_S)
            finally:
                asking.kill()
    assert (asking.returncode, *said) == (130, "", "streamcap: interrupted\n")
