"""Numbers by the compiled way: the same doubles and misfits as by the exact way, and none is declined."""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Iterable
from decimal import Context, Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulk_export.core.kernel_library import load_kernel
from bulk_export.core.model import Kind, ListOf
from tests.support.comparison import Comparison
from tests.support.described import endpoint, page, record
from tests.support.json_values import Raw

pytestmark = pytest.mark.skipif(load_kernel() is None, reason="the kernel is not built, or not wanted")

EXACT = Context(prec=1_100, Emin=-2_000, Emax=2_000)
DIGITS = (1, 2, 14, 15, 16, 17, 18)
COMPARISON: list[Comparison] = []


def are_taken(texts: Iterable[str]) -> bool:
    """Whether the compiled way takes a page with these numbers; what it makes of them is compared."""
    if not COMPARISON:
        COMPARISON.append(Comparison(endpoint({"numbers": ListOf(Kind.NUMBER)})))
    numbers = [Raw(text) for text in texts]
    return COMPARISON[0].takes(page({"id": "a", "type": "thing", "attributes": {"numbers": numbers}}))


def around(number: float) -> list[str]:
    """Texts of a double and of decimals near to it, and of what is halfway to the next double."""
    texts = [repr(number)]
    halfway = EXACT.divide(EXACT.add(Decimal(number), Decimal(math.nextafter(number, math.inf))), Decimal(2))
    for digits in DIGITS:
        text, power = f"{number:.{digits - 1}e}".split("e")
        nearest, power = int(text.replace(".", "")), str(int(power) - digits + 1)
        texts += [f"{nearest + more}e{power}" for more in (-1, 0, 1) if nearest + more > 0]
        texts.append(f"{halfway:.{digits - 1}e}")
    return [*texts, f"{halfway:e}", f"{Decimal(number):e}"]


NUMBERS = [
    *("0", "-0", "0.0", "-0.0", "1e0", "1E+2", "1e-2", "123456789012345", "1234567890123456", "0.1", "1e22", "1e23"),
    *("9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809", "1.0", "5e-324"),
    *("0.000000000000000000001", "100000000000000000000000", "1e400", "0e5", "-1", "12" * 25, "0.12345678901234567"),
    # Fewer digits or others as many would do, or zeros are all there is more.
    *("0.30000000000000004", "0.30000000000000000", "0.10000000000000001", "1.00000000000000000000000000000000000000"),
    *(
        "1.000000000000000000000000000000000000000",
        "9007199254740993",
        "9007199254740992.0",
        "10000000000000000000000e-22",
    ),
    # Nearer decimals of as many digits are read as the double below, which is a power of two.
    *("5.684341886080802e-14", "5.684341886080801e-14", "5.6843418860808015e-14"),
    # Two of seventeen digits are as near.
    *("2.9802322387695312e-08", "2.9802322387695313e-08", "4.8923492431640625e-4"),
    # The ends of what doubles can hold, and far beyond.
    *("1.7976931348623157e308", "1.7976931348623158e308", "1.7976931348623159e308", "17976931348623157e292", "1e309"),
    *(
        "2.2250738585072014e-308",
        "2.2250738585072011e-308",
        "4.9e-324",
        "4e-324",
        "3e-324",
        "2e-324",
        "-1e-323",
        "1e-324",
    ),
    *("0e99999999999999999999", "1e-99999999999999999999", "-1E99999999999999999999", "0.0e-99999999999999999999"),
    *("1e0000000000000000000000000000000000001", "1e00000000000000000000000000000000000001"),
]


@pytest.mark.parametrize("text", NUMBERS)
def test_numbers_agree(text: str) -> None:
    """Integers at the edges of 64 bits, and decimals that a double is or is not written as."""
    assert Comparison().takes(page(record(age=Raw(text), score=Raw(text), years=[Raw(text)], new=Raw(text))))
    assert are_taken([text, f"-{text}".removeprefix("--")])


def test_subnormal_numbers_agree() -> None:
    """The least doubles, of which few digits are several, and all decimals of up to three digits among them."""
    least = [number * 5e-324 for number in range(1, 60)]
    assert are_taken(text for number in least for text in around(number))
    assert are_taken(f"{digits}e{power}" for power in range(-327, -320) for digits in range(1, 1_000, 7))


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(min_value=0, exclude_min=True, max_value=1e308), min_size=1, max_size=9))
def test_drawn_doubles_agree(drawn: list[float]) -> None:
    """And decimals of every length near to them, of which those halfway to the next double are read as the even one."""
    assert are_taken(text for number in drawn for text in around(number))


def number(digits: int, point: int, *, fraction: bool, exponent: int | None) -> str:
    """A JSON number of some digits; with `fraction`, all but the first `point` of them stand behind the point."""
    text = str(abs(digits))
    whole, rest = text[:point] or "0", text[point:]
    written = f"{whole}.{rest or '0'}" if fraction else text
    return f"{'-' if digits < 0 else ''}{written}{'' if exponent is None else f'e{exponent:+}'}"


TEXTS = st.builds(
    number,
    st.integers(-(10**20), 10**20),
    st.integers(0, 1) | st.integers(0, 20),
    fraction=st.booleans(),
    exponent=st.none() | st.integers(-30, 30) | st.integers(-400, 400),
)


@settings(deadline=None, max_examples=30)
@given(st.lists(TEXTS, min_size=1, max_size=30))
def test_drawn_texts_agree(drawn: list[str]) -> None:
    """Digits of any number, with and without a point and an exponent."""
    assert are_taken(drawn)


@pytest.mark.torture
@pytest.mark.parametrize("seed", range(4))
def test_many_doubles_agree(seed: int) -> None:
    """A million numbers around doubles of any bits, powers of two, short mantissas, and rounded coordinates."""
    chance = random.Random(seed)

    def drawn() -> float:
        match chance.randrange(4):
            case 0:
                bits = chance.randrange(1, 0x7FE << 52)
            case 1:
                bits = (chance.randrange(1, 0x7FE) << 52) + chance.choice((-1, 0, 1))
            case 2:
                bits = (chance.randrange(960, 1_090) << 52) | chance.getrandbits(14) << 38
            case _:
                return abs(round(chance.uniform(-180, 180), chance.randrange(18))) or 1.0
        return float(struct.unpack("<d", struct.pack("<Q", bits))[0])

    for _ in range(200):
        assert are_taken(text for _ in range(40) for text in around(drawn()))
