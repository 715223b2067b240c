"""The two ways a lab command fails: wrong use (exit 2) and something that went wrong (exit 1)."""


class LabError(Exception):
    """What failed, and in `hint` what the reader can do next."""

    exit_status = 1

    def __init__(self, message, hint=None):
        super().__init__(message)
        self.hint = hint


class UsageError(LabError):
    """The command line asks for something that makes no sense."""

    exit_status = 2
