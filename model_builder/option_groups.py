"""Options that several commands share, given to each as one mapping."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

Command = TypeVar("Command", bound=Callable[..., Any])


def gathered(
    command: Command,
    keyword: str,
    names: Sequence[str],
    options: Sequence[Callable[[Any], Any]],
) -> Command:
    """Add options to a command, which gets what they say as one mapping.

    Args:
        command: The function that is to become a command.
        keyword: The argument of ``command`` that gets the mapping.
        names: The options' names as Python has them.
        options: As ``click.option`` makes them, in the order of the help.
    """

    @functools.wraps(command)
    def with_options(*args: Any, **given: Any) -> Any:
        return command(*args, **{keyword: {name: given.pop(name) for name in names}}, **given)

    return functools.reduce(lambda wrapped, add: add(wrapped), reversed(options), with_options)  # type: ignore[return-value]
