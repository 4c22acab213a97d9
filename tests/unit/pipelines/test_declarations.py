"""How options are declared, and what follows from a declaration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypedDict, get_args, get_origin

import pytest

from bulk_export.errors import UsageError
from bulk_export.pipelines.arguments import ExportArguments, ReplayArguments, SyncArguments
from bulk_export.pipelines.declarations import Arity, Option, declarations, with_defaults
from bulk_export.pipelines.load_arguments import LoadArguments
from bulk_export.pipelines.plan_arguments import PlanArguments

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
    """An unknown option is a UsageError and a TypeError, which suggests a similar one."""
    with pytest.raises(TypeError, match=r"volume got an unexpected keyword argument 'volum'\. Did you mean 'volume'\?"):
        with_defaults(VolumeArguments, {"volum": "loud"})
    with pytest.raises(UsageError, match=r"argument 'xyz'\. It takes: volume, speakers, mute, length\.$"):
        with_defaults(VolumeArguments, {"xyz": 1})


@pytest.mark.parametrize(
    ("given", "takes"),
    [
        ({"volume": 3}, "volume takes text, and was given a value of type int."),
        ({"speakers": [3]}, "speakers takes text or a sequence of text, and was given a value of type list."),
        ({"mute": "no"}, "mute takes True or False, and was given a value of type str."),
        ({"length": True}, "length takes a whole number, text or None, and was given a value of type bool."),
    ],
)
def test_value_of_another_type(given: dict[str, Any], takes: str) -> None:
    """A value of a type that its option does not take is refused before anything is done, and is not repeated."""
    with pytest.raises(UsageError) as refused:
        with_defaults(VolumeArguments, given)
    assert refused.value.what == takes
    assert isinstance(refused.value, TypeError)


@pytest.mark.parametrize("arguments", [ExportArguments, SyncArguments, ReplayArguments, LoadArguments, PlanArguments])
def test_words_are_typed(arguments: type) -> None:
    """An option that takes certain words has them in its type; services describe environments of their own."""
    for name, declared in declarations(arguments).items():
        if declared.option.choices and name != "environment":
            kinds = [kind for kind in (declared.type, *get_args(declared.type)) if get_origin(kind) is Literal]
            assert set(get_args(kinds[0])) == set(declared.option.choices), name


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
