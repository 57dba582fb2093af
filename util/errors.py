"""The error that is a person's to mend."""


class UserError(Exception):
    """Say what is wrong and what to do; printed without a stack trace, exit status 2."""
