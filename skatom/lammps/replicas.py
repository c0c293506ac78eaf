"""Several programs that ask a model together."""

import threading


class LockStep:
    """Questions of several threads, answered all at once.

    One thread works at a time, until it has a question; when all have one, they are answered
    together. So programs that are not safe in threads may run in threads.

    Parameters
    ----------
    answer : callable
        It takes a list of questions and gives a list of answers.
    n : int
        Number of threads.
    """

    def __init__(self, answer, n):
        self._answer = answer
        self._working = list(range(n))  # threads that have not left
        self._questions, self._answers = {}, {}
        self._turn = 0
        self._error = None
        self._changed = threading.Condition()

    def begin(self, k):
        """Wait until thread k may work."""
        with self._changed:
            self._changed.wait_for(lambda: self._turn == k)

    def ask(self, k, question):
        """The answer to a question of thread k, which others work meanwhile."""
        with self._changed:
            if self._error is not None:
                raise self._error
            self._questions[k] = question
            self._pass_on()
            self._changed.wait_for(lambda: self._turn == k)
            if self._error is not None:
                raise self._error
            return self._answers.pop(k)

    def leave(self, k):
        """Thread k has no more questions."""
        with self._changed:
            self._working.remove(k)
            self._questions.pop(k, None)
            self._pass_on()

    def stop(self, error):
        """Raise an error in every thread at its next question."""
        self._error = error

    def _pass_on(self):
        free = [k for k in self._working if k not in self._questions]
        if not free and self._questions:
            self._answer_all()
            free = self._working
        self._turn = free[0] if free else None
        self._changed.notify_all()

    def _answer_all(self):
        order = sorted(self._questions)
        try:
            if self._error is None:
                answers = self._answer([self._questions[k] for k in order])
                self._answers = dict(zip(order, answers, strict=True))
        except BaseException as error:
            self._error = error
        self._questions = {}
