"""Ctrl-C always ends the process, whenever it arrives."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def run_python(program: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a separate process, to which it can send signals."""
    command = [sys.executable, "-c", textwrap.dedent(program)]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)


def test_a_signal_during_a_destructor_still_ends_the_process_quietly() -> None:
    program = """
        import signal, threading
        from seatweb.server.unix_signals import all_ended, take_signals

        class Ended:
            def __del__(self):
                signal.raise_signal(signal.SIGTERM)
                for _ in range(1000):  # the handler runs in here
                    pass

        take_signals()
        try:
            Ended()
            threading.Event().wait(60)
            print("lost")
        except KeyboardInterrupt:
            print("ended")
        finally:
            all_ended()
    """
    ended = run_python(program)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "ended\n", "")


def test_a_signal_that_is_sent_again_too_early_still_ends_the_process_quietly() -> None:
    """On a busy machine, the second signal may arrive before the hook that sends it has returned."""
    program = """
        import signal, threading
        from seatweb.server.unix_signals import all_ended, take_signals

        later = threading.Timer

        class Immediately(later):
            def start(self):
                threading.Timer = later
                self.function(*self.args)
                for _ in range(1000):  # the handler runs in here
                    pass

        class Ended:
            def __del__(self):
                signal.raise_signal(signal.SIGTERM)
                for _ in range(1000):  # the handler runs in here
                    pass

        take_signals()
        threading.Timer = Immediately
        try:
            Ended()
            threading.Event().wait(60)
            print("lost")
        except KeyboardInterrupt:
            print("ended")
        finally:
            all_ended()
    """
    ended = run_python(program)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "ended\n", "")


def test_other_exceptions_in_a_destructor_are_still_printed() -> None:
    program = """
        from seatweb.server.unix_signals import all_ended, take_signals

        class Ended:
            def __del__(self):
                raise ValueError("told")

        take_signals()
        Ended()
        all_ended()
    """
    ended = run_python(program)
    assert "ValueError: told" in ended.stderr


def test_a_signal_while_an_event_loop_is_created_ends_the_process_quietly() -> None:
    program = """
        import signal, socket
        from seatweb.server.unix_signals import all_ended, run, take_signals

        pair = socket.socketpair

        def interrupted():
            signal.raise_signal(signal.SIGTERM)  # the loop exists, but is not fully initialised
            return pair()

        async def main():
            print("begun")

        take_signals()
        socket.socketpair = interrupted
        try:
            run(main)
            print("lost")
        except KeyboardInterrupt:
            print("ended")
        finally:
            all_ended()
    """
    ended = run_python(program)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "ended\n", "")
