"""What a program raises for the person who runs it: a mistake to mend, or a run to go on with."""


class UserError(Exception):
    """A mistake that the user can mend: bad input, a bad option, a missing file.

    The message is one line that says where, what came, what was expected and what to do. The command line
    prints it without a traceback and exits with status 2; a library caller can catch it like any exception.
    """


class Preempted(Exception):
    """A program stopped because it was asked to (SIGTERM); what it did is saved, the same command goes on.

    The command line prints the message and exits with status 75.
    """
