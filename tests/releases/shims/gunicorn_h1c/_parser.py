"""The errors of the scanner of responses."""


class ParseError(Exception):
    """Never raised here."""


class IncompleteError(Exception):
    """The end of the head has not come yet."""
