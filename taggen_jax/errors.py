"""The one exception that a user's mistake raises."""


class UserError(Exception):
    """A mistake that the user can mend: bad input, a bad option, a missing file.

    The message is one line that says where, what came, what was expected and what to do. The command line
    prints it without a traceback and exits with status 2; a library caller can catch it like any exception.
    """
