"""The one error that means: what the user brought cannot be used, and this line says why and what to do."""


class InputError(ValueError):
    """A file, a setting or a text that cannot be used.

    The message is one line: what was expected, what came, what to do. The command line prints it alone and ends with
    status 2; anything else that escapes is a defect of ours and keeps its traceback.
    """
