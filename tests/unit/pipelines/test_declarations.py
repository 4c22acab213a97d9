"""How options are declared, and what follows from a declaration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypedDict

import pytest

from bulk_export.pipelines.declarations import Arity, Option, declarations, with_defaults

WORDS = ("loud", "low")


class VolumeArguments(TypedDict, total=False):
    volume: Annotated[str, Option("How loud.", default="low", choices=WORDS)]
    speakers: Annotated[str | Sequence[str], Option("Which speakers.", metavar="NAME", default_text="all")]
    mute: Annotated[bool, Option("Be silent.")]
    length: Annotated[int | str | None, Option("How long.", metavar="TIME")]


def test_arity() -> None:
    """It follows from the type: a switch for bool, several values for a sequence, else one."""
    arities = {name: declared.arity for name, declared in declarations(VolumeArguments).items()}
    assert arities == {
        "volume": Arity.SINGLE,
        "speakers": Arity.MULTIPLE,
        "mute": Arity.FLAG,
        "length": Arity.SINGLE,
    }


def test_defaults() -> None:
    """Options that were not given have their declared defaults."""
    given: VolumeArguments = {"volume": "loud"}
    assert with_defaults(VolumeArguments, given) == {"volume": "loud", "speakers": (), "mute": False, "length": None}
    assert with_defaults(VolumeArguments, {"length": None})["volume"] == "low"


def test_unknown_option() -> None:
    """An unknown option is a TypeError that suggests a similar one."""
    with pytest.raises(TypeError, match=r"volume got an unexpected keyword argument 'volum'; did you mean 'volume'\?"):
        with_defaults(VolumeArguments, {"volum": "loud"})
    with pytest.raises(TypeError, match=r"argument 'xyz'$"):
        with_defaults(VolumeArguments, {"xyz": 1})


def test_help() -> None:
    """It ends with the default; the choices are the metavar unless another is given."""
    shown = {
        name: (declared.flag, declared.metavar, declared.help)
        for name, declared in declarations(VolumeArguments).items()
    }
    assert shown == {
        "volume": ("--volume", "loud|low", "How loud. (low)"),
        "speakers": ("--speakers", "NAME", "Which speakers. (all)"),
        "mute": ("--mute", None, "Be silent."),
        "length": ("--length", "TIME", "How long."),
    }
