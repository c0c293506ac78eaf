"""The command line: train, evaluate and use a model without writing Python.

Heavy imports sit inside the functions, so that ``skatom --help`` answers at once.
"""

import os
import signal
import sys
import threading
import traceback
import warnings
from contextlib import contextmanager

from skatom.cli.parser import new_parser
from skatom.cli.report import one_line, warn

# What users may mend: its message says what. Any other error is skatom's own, or a library's.
_EXPECTED = (ValueError, OSError, MemoryError, ImportError)
_ERROR, _INTERRUPTED, _BROKEN_PIPE, _TERMINATED = 2, 130, 141, 143


def main(argv=None):
    """Run one command.

    Parameters
    ----------
    argv : list of str, default=None
        The arguments. None: the arguments of the process.

    Returns
    -------
    int
        0; 2 after an error, 130 after Ctrl-C (SIGINT) and 143 after SIGTERM, which are one line on
        stderr; 141 if nobody reads what is printed.
    """
    arguments = None
    try:
        with _termination_is_raised(), warnings.catch_warnings():
            warnings.showwarning = lambda message, *_: warn(message)
            arguments = new_parser().parse_args(argv)
            arguments.run(arguments)
            if sys.stdout is not None:
                sys.stdout.flush()
    except BrokenPipeError:
        code = _BROKEN_PIPE
    except KeyboardInterrupt:
        code = _end("interrupted", _INTERRUPTED)
    except _Terminated:
        code = _end("terminated", _TERMINATED)
    except Exception as error:
        if getattr(arguments, "debug", False):
            traceback.print_exc()
        code = _end(f"error: {_described(error)}", _ERROR)
    else:
        return 0
    _discard_what_cannot_be_printed()
    return code


class _Terminated(BaseException):
    """SIGTERM, raised where the main thread is, so that files and threads are cleaned up."""


@contextmanager
def _termination_is_raised():
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_):
        raise _Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _described(error):
    if isinstance(error, _EXPECTED):
        return one_line(error)
    what = one_line(f"{type(error).__name__}: {error}")
    return f"{what} (this is not expected: --debug shows where it happens)"


def _end(message, code):
    print(f"skatom: {message}", file=sys.stderr)
    return code


def _discard_what_cannot_be_printed():
    """Keep Python from trying once more, and printing a trace, when it exits."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except AttributeError:  # no stdout at all
        return
