"""Threads that wait for calls, and calls that may be taken back.

What a call costs is time during which no other thread can use the interpreter, so it is little:
with sixteen threads and pieces of work of some hundred microseconds, futures cost as much as the
work.
"""

from concurrent.futures import Future
from queue import SimpleQueue
from threading import Lock, Thread


class Crew:
    """Threads of this process that take calls in turn.

    They end with the process, which does not wait for them.

    Parameters
    ----------
    size : int
        Number of threads.
    """

    def __init__(self, size):
        self._calls = SimpleQueue()
        for number in range(size):
            name = f"skatom-{size}-{number}"
            Thread(target=_serve, args=(self._calls,), name=name, daemon=True).start()

    def call(self, call):
        """Let one of the threads call it; it must not raise an error."""
        self._calls.put(call)

    def submit(self, function, *arguments):
        """The `Future` of a call of a function."""
        future = Future()

        def call():
            if future.set_running_or_notify_cancel():
                try:
                    result = function(*arguments)
                except BaseException as error:
                    future.set_exception(error)
                else:
                    future.set_result(result)

        self.call(call)
        return future


def _serve(calls):
    while True:
        # the queue keeps no call, and this thread none while it waits
        calls.get()()


class Helper:
    """A call of a function, once, by another thread; until it begins, it may be taken back.

    Parameters
    ----------
    function : callable
        Function without arguments, whose result is not kept.
    """

    def __init__(self, function):
        self._function = function
        self._begun, self._working = Lock(), Lock()
        self._error = None
        self._working.acquire()

    def __call__(self):
        if not self._begun.acquire(blocking=False):
            return
        try:
            self._function()
        except BaseException as error:
            self._error = error
        finally:
            self._working.release()

    def cancel(self):
        """Take it back if it has not begun; whether it never will."""
        if self._begun.acquire(blocking=False):
            self._working.release()
            return True
        return False

    def wait(self):
        """Wait until it has ended or was taken back."""
        with self._working:
            pass

    def result(self):
        """Wait for its end, and raise its error if there was one."""
        self.wait()
        if self._error is not None:
            raise self._error
