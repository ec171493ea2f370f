"""A reader's arguments against their annotations: one clear line for any that does not fit, before anything is done with it.

A signature says what a function takes, to a reader and to mypy; here it is held to that. What an annotation cannot tell (a
name that there is, a whole page) is checked where it is used. Not for what is called thousands of times in a load.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import lru_cache, wraps
from itertools import chain
from numbers import Integral, Real
from pathlib import Path
from types import FunctionType, UnionType
from typing import Annotated, Any, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

from .errors import KlpteachError, quoted

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
Address = Annotated[int, range(1 << 64)]
Errno = Annotated[int, range(-4095, 4096)]  # as in a recording
_FITS: Any = object()
_ANYTHING: tuple[Any, Any] = (object, object)
_WIDER: dict[Any, Any] = {
    int: Integral,
    bool: Integral,
    float: Real,
    tuple: (tuple, list),
}  # numpy's numbers count, too


def checked(
    error: type[KlpteachError] = KlpteachError, but: Sequence[str] = ()
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator: a call with an argument that its annotation does not allow raises `error`.

    but: parameters that the function itself checks, since it can say what there is.

    >>> @checked()
    ... def wait(seconds: int | None = None) -> None: ...
    >>> wait("long")
    Traceback (most recent call last):
    klpteach.errors.KlpteachError: wait() takes seconds: int | None; 'long' does not fit. Try: help(wait)
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            kinds = _kinds(function, *but)
            for name, value in chain(zip(kinds, args, strict=False), kwargs.items()):
                hint, plain = kinds.get(name, _ANYTHING)
                if not isinstance(value, plain) and (wrong := misfit(value, hint)) is not _FITS:
                    raise _error(error, function, name, wrong)
            return function(*args, **kwargs)

        return call

    return decorate


def checked_methods(
    error: type[KlpteachError] = KlpteachError, but: Sequence[str] = ()
) -> Callable[[type[T]], type[T]]:
    """A decorator of a class: all its public methods are checked(), but those that do it themselves."""

    def decorate(kind: type[T]) -> type[T]:
        for name, value in list(vars(kind).items()):
            if isinstance(value, FunctionType) and not name.startswith("_") and name not in but:
                setattr(kind, name, checked(error)(value))
        return kind

    return decorate


def check_fields(given: object, error: type[KlpteachError] = KlpteachError) -> None:
    """The same for a dataclass, from its __post_init__. Errors: `error`."""
    kind: Any = type(given)
    for name, hint in _hints(kind).items():
        if (wrong := misfit(getattr(given, name), hint)) is not _FITS:
            raise _error(error, kind, name, wrong)


def folder(given: str | os.PathLike[str], name: str, error: type[KlpteachError] = KlpteachError) -> Path:
    """An argument that must be a folder that there is. Errors: `error`."""
    if not os.path.isdir(given):
        raise error(f"{name}={quoted(os.fspath(given))} is no folder: give one that holds module files.")
    return Path(given)


def misfit(value: Any, hint: Any) -> object:
    """What of a value an annotation does not allow: the value, or the first thing in it. A number has 64 bits at most.

    >>> misfit({"a": 1, "b": None}, Mapping[str, int]), misfit(1.5, int | None), misfit(-1, Address)
    (None, 1.5, -1)
    """
    kind, inner = get_origin(hint) or hint, get_args(hint)
    if kind in (Union, UnionType):
        found = [misfit(value, one) for one in inner]
        return _FITS if any(one is _FITS for one in found) else next((o for o in found if o is not value), value)
    if kind is Annotated:
        bounds = inner[1] if isinstance(value, Integral) else ()
        return _FITS if isinstance(value, Integral) and int(value) in bounds else value
    if kind is Any:
        return _FITS
    if not isinstance(value, _WIDER.get(kind, kind)) or (isinstance(value, int) and abs(value) >= 1 << 64):
        return value
    if kind is tuple and inner[1:] != (...,) and len(inner) != len(value):
        return value
    if kind is Callable and inner and isinstance(inner[0], list) and not _can_be_called(value, inner[0]):
        return value
    parts = (misfit(part, its) for part, its in _parts(value, kind, inner))
    return next((wrong for wrong in parts if wrong is not _FITS), _FITS)


def _can_be_called(value: Any, arguments: Sequence[object]) -> bool:
    try:
        inspect.signature(value).bind(*arguments)
    except TypeError:
        return False
    except ValueError:  # some builtins have no signature
        return True
    return True


def _parts(value: Any, kind: type, inner: tuple[Any, ...]) -> Iterator[tuple[object, Any]]:
    """What stands in a value, each with its annotation. An iterable that may be read once is left alone."""
    if kind is tuple and inner[1:] != (...,):
        yield from zip(value, inner, strict=True)
    elif isinstance(value, Mapping) and len(inner) == 2:
        yield from ((one, its) for pair in value.items() for one, its in zip(pair, inner, strict=True))
    elif inner and isinstance(value, Collection) and not callable(value):
        yield from ((one, inner[0]) for one in value)


def _error(error: type[KlpteachError], of: Callable[..., Any], name: str, wrong: object) -> KlpteachError:
    where, takes = of.__qualname__.removesuffix(".__init__"), inspect.get_annotations(of)[name]
    return error(f"{where}() takes {name}: {takes}; {quoted(wrong)} does not fit. Try: help({where})")


@lru_cache(maxsize=1024)
def _hints(of: Any) -> dict[str, Any]:
    return get_type_hints(of, include_extras=True)


@lru_cache(maxsize=1024)
def _kinds(function: Callable[..., Any], *but: str) -> dict[str, tuple[Any, Any]]:
    """Parameter -> its annotation, and the classes whose objects need no second look."""
    hints = {name: hint for name, hint in _hints(function).items() if name not in but}
    named = {name: hints.get(name, object) for name in inspect.signature(function).parameters}
    return {name: (hint, tuple(_plain(hint))) for name, hint in named.items()}


def _plain(hint: Any) -> Iterator[type]:
    for one in get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,):
        if isinstance(one, type) and not get_args(one) and one not in (int, float, Any):
            yield one
