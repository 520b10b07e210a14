"""Requests nobody would send: any value for any field, and now and then one that means something."""

from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st

MAX_DEPTH = 4
MAX_ITEMS = 3
# Names that are subjects, paths, patterns or statements somewhere.
NASTY = ["*", ">", "a.b", "..", "../../etc/passwd", " ", "\x00", "%s", "'; drop table logs; --", "é" * 63, "x" * 64]
EPOCHS = [-62135596800, -1, 0, 253402300799, 2**62, -(2**62)]

_TEXT = st.one_of(
    st.sampled_from(NASTY),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.uuids().map(str),
    st.sampled_from(["0" * 64, "f" * 64]),
)
_FLOATS = st.one_of(st.floats(width=32), st.sampled_from([0.0, -1.0, 1e308, float("nan"), float("inf")]))


def _integers(bits: int, *, signed: bool) -> st.SearchStrategy[int]:
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    return st.one_of(st.integers(low, high), st.sampled_from([0, 1, low, high]), st.integers(0, 10))


_SCALARS: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.TYPE_STRING: _TEXT,
    FieldDescriptor.TYPE_BYTES: st.binary(max_size=20),
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_DOUBLE: _FLOATS,
    FieldDescriptor.TYPE_FLOAT: st.floats(width=32),
    FieldDescriptor.TYPE_INT32: _integers(32, signed=True),
    FieldDescriptor.TYPE_INT64: _integers(64, signed=True),
    FieldDescriptor.TYPE_UINT32: _integers(32, signed=False),
    FieldDescriptor.TYPE_UINT64: _integers(64, signed=False),
    # Open enums: values nobody has named, too.
    FieldDescriptor.TYPE_ENUM: st.one_of(st.integers(0, 12), _integers(32, signed=True)),
}


@st.composite
def any_message(draw: st.DrawFn, descriptor: Descriptor, known: dict[str, list[str]], depth: int = 0) -> Message:
    """A message of a type; `known` are values that mean something, by field name."""
    made = GetMessageClass(descriptor)()
    if descriptor.full_name == "google.protobuf.Timestamp":
        made.seconds, made.nanos = draw(st.sampled_from(EPOCHS)), draw(st.sampled_from([0, -1, 999_999_999]))
        return made
    for field in descriptor.fields:
        # Of a oneof the last one set remains.
        if not draw(st.booleans()):
            continue
        if field.type == FieldDescriptor.TYPE_MESSAGE and depth >= MAX_DEPTH:
            continue
        _set(draw, made, field, known, depth)
    return made


def _set(draw: st.DrawFn, made: Any, field: FieldDescriptor, known: dict[str, list[str]], depth: int) -> None:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        key, value = field.message_type.fields
        for _ in range(draw(st.integers(1, MAX_ITEMS))):
            item = getattr(made, field.name)
            if value.message_type is not None:
                item[draw(_value(key, known))].CopyFrom(draw(any_message(value.message_type, known, depth + 1)))
            else:
                item[draw(_value(key, known))] = draw(_value(value, known))
    elif field.is_repeated:
        for _ in range(draw(st.integers(1, MAX_ITEMS))):
            items = getattr(made, field.name)
            if field.message_type is not None:
                items.append(draw(any_message(field.message_type, known, depth + 1)))
            else:
                items.append(draw(_value(field, known)))
    elif field.message_type is not None:
        getattr(made, field.name).CopyFrom(draw(any_message(field.message_type, known, depth + 1)))
    else:
        setattr(made, field.name, draw(_value(field, known)))


def _value(field: FieldDescriptor, known: dict[str, list[str]]) -> st.SearchStrategy[Any]:
    scalar = _SCALARS[field.type]
    if field.name in known and field.type == FieldDescriptor.TYPE_STRING:
        meaningful = st.sampled_from(known[field.name])
        return st.one_of(meaningful, meaningful, meaningful, scalar)
    return scalar
