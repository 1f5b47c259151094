"""The one error that means that what the user brought cannot be used, and how it quotes errors of other libraries."""


class InputError(ValueError):
    """A file, a setting or a text that cannot be used.

    The message is one line: what was expected, what came, what to do. The command line prints it alone and ends with
    status 2; anything else that escapes is a defect of ours and keeps its traceback.
    """


def first_line(error: BaseException) -> str:
    """The first line of what an error of another library says, or the error's type where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
