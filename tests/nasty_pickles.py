"""Pickles of kilobytes or megabytes that would take hours or gigabytes, or change programs."""

import io
import struct
import zipfile
from collections.abc import Iterator

MERSENNE = (1 << 61) - 1  # Python's hash of an integer is what remains of it modulo this
ONE_NUMBER = {"x/data/a": bytes(4)}


def archived(code: bytes, **members: bytes) -> bytes:
    """Return a pickle as PyTorch's archives hold it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("x/data.pkl", b"\x80\x04" + code)
        for name, data in (members or ONE_NUMBER).items():
            file.writestr(name, data)
    return buffer.getvalue()


def named(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def integer(value: int) -> bytes:
    data = value.to_bytes(12, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def doubled(kind: str, levels: int = 40) -> bytes:
    """Return what puts 2 to the power of so many levels into place 40 of the memo, as aliases."""
    code = {"list": b"]", "tuple": b")"}[kind] + b"q\x00" + b"0"
    for level in range(levels):
        inner = (b"h" + bytes([level])) * 2
        made = b"](" + inner + b"e" if kind == "list" else inner + b"\x86"
        code += made + b"q" + bytes([level + 1]) + b"0"
    return code


STORAGE = b"(" + text("storage") + named("torch", "FloatStorage") + text("a") + text("cpu")
TENSOR = named("torch._utils", "_rebuild_tensor_v2") + b"(" + STORAGE + b"K\x01tQK\x00"
"""A tensor in one stored number, as far as its size and its steps."""

ONE = TENSOR + b"K\x01\x85K\x01\x85tR"
ARRAY = named("numpy.core.multiarray", "_reconstruct") + named("numpy", "ndarray")
ARRAY += b"K\x00\x85" + text("b") + b"\x87R"
BYTE = named("numpy", "dtype") + text("u1") + b"K\x00K\x01\x87R"
BYTE += b"(K\x03" + text("|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"


def bombs() -> Iterator[tuple[str, bytes]]:
    """Yield the code of pickles, by name."""
    lists, tuples = doubled("list"), doubled("tuple")
    yield "sets", b"\x8f" * 3_000_000 + b"."
    yield "lists", b"](" + b"]" * 3_000_000 + b"e."
    yield "classes", b"(" + b"".join(named("m", f"N{n}") for n in range(30_000)) + b"t."
    yield "long_class", named("m" * 900_000, "N") + b"."
    yield "key_of_tuples", tuples + b"}h(K\x01s."
    yield (
        "key_of_tuples_in_ordered",
        (tuples + named("collections", "OrderedDict") + b"](h(K\x01\x86e\x85R."),
    )
    yield "member_of_tuples", tuples + b"\x8f(h(\x90."
    yield "frozen_tuples", tuples + b"(h(\x91."
    keys = b"".join(integer(MERSENNE * n) + b"N" for n in range(1, 60_000))
    yield "keys_of_one_hash", b"}(" + keys + b"u."
    long = text("k" * 1_000_000)
    yield (
        "long_keys",
        long + b"q\x00" + b"0" + long + b"q\x01" + b"0}(" + b"h\x00Nh\x01N" * 9 + b"u.",
    )
    yield "encoding_is_a_list", lists + named("_codecs", "encode") + text("a") + b"h(\x86R."
    yield (
        "attribute_is_a_list",
        (lists + named("builtins", "getattr") + named("a", "B") + b"h(\x86R."),
    )
    yield (
        "storage_is_a_list",
        (
            lists
            + (
                b"("
                + text("storage")
                + named("torch", "FloatStorage")
                + b"h("
                + text("cpu")
                + b"K\x01tQ."
            )
        ),
    )
    yield "type_is_a_list", lists + ARRAY + b"(K\x01K\x01\x85h(\x89U\x00tb."
    held = lists + b"}" + named("a", "B") + b")\x81}" + text("x") + b"h(sbK\x01s."
    yield "key_holds_a_list", held
    yield "steps_are_text", TENSOR + integer(3 * 10**9) + b"\x85" + text("a") + b"\x85tR."
    yield "expanded", b"}" + text("w") + TENSOR + integer(10**13) + b"\x85K\x00\x85tRs."
    yield "filled", TENSOR + integer(10**13) + b"\x85K\x00\x85tRK\x00K\x01s."
    huge = b"\x8a\xff" + b"\x7f" * 255
    yield (
        "shape_of_large_numbers",
        ARRAY + b"(K\x01(" + huge * 60_000 + b"t" + BYTE + b"\x89U\x00tb.",
    )
    data = text("a" * 1_000_000)
    state = (
        data
        + b"q\x01"
        + BYTE
        + b"q\x02(K\x01J"
        + struct.pack("<i", 10**6)
        + b"\x85h\x02\x89h\x01tq\x03"
    )
    yield "arrays_of_one_text", state + b"(" + (ARRAY + b"h\x03b") * 9_000 + b"t."
    items = b"".join(b"J" + struct.pack("<i", n) + b"N" for n in range(100_000))
    state = b"}(" + items + b"uq\x01" + named("a", "B") + b"q\x02("
    yield "one_state_for_many", state + b"h\x02)\x81h\x01b" * 100_000 + b"t."
    made = (
        TENSOR.partition(b"(")[0]
        + b"q\x01"
        + b"0("
        + STORAGE
        + b"K\x01tQK\x00K\x01\x85K\x01\x85tq\x02"
    )
    yield "many_tensors", made + b"0(" + b"h\x01h\x02R" * 400_000 + b"t."
    nested = b"]q\x00" + b"0"
    for level in range(6):
        nested += b"](" + (b"h" + bytes([level])) * 990 + b"eq" + bytes([level + 1]) + b"0"
    yield "lists_of_lists", nested + b"}" + text("note") + b"h\x06s."
    modules = b"}q\x00" + b"0"
    for _ in range(3000):
        inner = b"}" + text("m") + b"h\x00s"
        modules += b"}(" + text("_parameters") + b"}" + text("_modules") + inner + b"uq\x00" + b"0"
    yield "modules_in_modules", modules + b"h\x00."


def poisoned(name: str) -> bytes:
    """Return the code of a pickle that sets an attribute of one of the reader's own classes."""
    return named(*name.rsplit(".", 1)) + b"N}" + text("__init__") + b"K\x07s\x86b."


def stated(state: bytes) -> bytes:
    """Return the code of a pickle that gives a tensor a state of its own."""
    return b"}" + text("w") + ONE + state + b"bs."
