"""Vectors of eight lanes as Numba values: what ``+`` on a ``float`` is in a compiled function, on eight at once.

A loop over lanes is left to LLVM's autovectoriser, which gives up for reasons that nothing reports. Here a
vector is a type of its own and each operation is one LLVM instruction on ``<8 x float>``, ``<8 x i32>`` or
``<8 x i1>``. LLVM lowers them to whatever the CPU has (one AVX register, two of SSE or NEON, half of
AVX-512), so nothing here is particular to a CPU. Outside compiled functions these names can't be called.

- ``Float32x8``: ``load_int16``, ``+ - *``, ``< >=``, ``fmuladd``, ``maximum``, ``select``,
  ``negative``, ``as_int32`` (rounds towards zero)
- ``Int32x8``: ``+ - *`` (they wrap), ``multiply_high`` (unsigned), ``& | ^ <<`` and ``>>`` (fills with zeros),
  ``< >`` (signed), ``select``, ``as_float32``, ``reinterpret_float32``
- ``Mask8``: ``& | ^``, ``select``, ``bits`` (lane 0 is the lowest bit)

``cache=True`` keys a compiled function by its own file, bytecode and closure, and so misses edits here and in
other modules that it calls. Every kernel therefore holds a ``source_version`` in its closure.
"""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import extending
from numba.core import types
from numba.core.cgutils import get_or_insert_function
from numba.core.typing import signature
from numba.core.typing.templates import ConcreteTemplate, infer_global
from numba.extending import lower_builtin, models, register_model

LANES = 8
intrinsic: Any = extending.intrinsic
"""Untyped: to a type checker an intrinsic has the arguments of its typing function."""
_ALIGNMENT = 4
"""Bytes: what a load may rely on. Aligned memory is as fast through such a load."""


def source_version(*files: Path) -> int:
    """Return a number that changes with this file and with the given ones."""
    content = b"".join(path.read_bytes() for path in (Path(__file__), *files))
    return int.from_bytes(hashlib.sha256(content).digest()[:7], "big")


@cache
def instruction_set() -> str:
    """Return the CPU's name and a hash of its features: the kernels' bits repeat where both are the same."""
    features = llvm.get_host_cpu_features().flatten()
    return f"{llvm.get_host_cpu_name()}-{hashlib.sha256(features.encode()).hexdigest()[:8]}"


class Vector(types.Type):
    """The Numba type of a vector."""

    def __init__(self, name: str, element: ir.Type, scalar: types.Type) -> None:
        super().__init__(name)
        self.llvm = ir.VectorType(element, LANES)
        self.scalar = scalar


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Vector) -> None:
        super().__init__(dmm, fe_type, fe_type.llvm)


float32x8 = Vector("float32x8", ir.FloatType(), types.float32)
int32x8 = Vector("int32x8", ir.IntType(32), types.int32)
mask8 = Vector("mask8", ir.IntType(1), types.boolean)


def _broadcast(builder: ir.IRBuilder, scalar: ir.Value) -> ir.Value:
    vector = ir.VectorType(scalar.type, LANES)
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), scalar, ir.Constant(ir.IntType(32), 0))
    lanes = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), lanes)


def _define(
    symbol: Any, operand: Vector, result: Vector, emit: Callable[..., ir.Value], right: types.Type | None = None
) -> None:
    """Give an operator of Python its meaning for two vectors (or a vector and ``right``)."""
    operands = (operand, operand if right is None else right)

    class Signature(ConcreteTemplate):
        cases = [signature(result, *operands)]  # noqa: RUF012

    infer_global(symbol)(Signature)

    def lower(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        return emit(builder, *args)

    lower_builtin(symbol, *operands)(lower)


def _shift(name: str) -> Callable[..., ir.Value]:
    def emit(builder: ir.IRBuilder, vector: ir.Value, count: ir.Value) -> ir.Value:
        return getattr(builder, name)(vector, _broadcast(builder, builder.trunc(count, ir.IntType(32))))

    return emit


_define(operator.add, float32x8, float32x8, lambda b, x, y: b.fadd(x, y))
_define(operator.sub, float32x8, float32x8, lambda b, x, y: b.fsub(x, y))
_define(operator.mul, float32x8, float32x8, lambda b, x, y: b.fmul(x, y))
_define(operator.lt, float32x8, mask8, lambda b, x, y: b.fcmp_ordered("<", x, y))
_define(operator.ge, float32x8, mask8, lambda b, x, y: b.fcmp_ordered(">=", x, y))
_define(operator.add, int32x8, int32x8, lambda b, x, y: b.add(x, y))
_define(operator.sub, int32x8, int32x8, lambda b, x, y: b.sub(x, y))
_define(operator.mul, int32x8, int32x8, lambda b, x, y: b.mul(x, y))
_define(operator.lt, int32x8, mask8, lambda b, x, y: b.icmp_signed("<", x, y))
_define(operator.gt, int32x8, mask8, lambda b, x, y: b.icmp_signed(">", x, y))
_define(operator.lshift, int32x8, int32x8, _shift("shl"), right=types.int64)
_define(operator.rshift, int32x8, int32x8, _shift("lshr"), right=types.int64)
for _vector in (int32x8, mask8):
    _define(operator.and_, _vector, _vector, lambda b, x, y: b.and_(x, y))
    _define(operator.or_, _vector, _vector, lambda b, x, y: b.or_(x, y))
    _define(operator.xor, _vector, _vector, lambda b, x, y: b.xor(x, y))


def _address(context: Any, builder: ir.IRBuilder, array_type: Any, array: ir.Value, index: ir.Value) -> ir.Value:
    struct = context.make_array(array_type)(context, builder, array)
    return builder.gep(struct.data, [index], inbounds=True)


def _vector_of(array: types.Type) -> Vector | None:
    """Return the vector type of a flat, contiguous array, None if it has none."""
    if isinstance(array, types.Array) and array.ndim == 1 and array.layout == "C":
        for vector in (float32x8, int32x8):
            if array.dtype == vector.scalar:
                return vector
    return None


@intrinsic(prefer_literal=False)
def load(typingctx, array, index):
    """Return ``array[index : index + 8]`` of a flat float32 or int32 array; bounds are not checked."""
    vector = _vector_of(array)
    if vector is None or not isinstance(index, types.Integer):
        return None

    def emit(context, builder, sig, args):
        address = _address(context, builder, sig.args[0], *args)
        address = builder.bitcast(address, vector.llvm.as_pointer())
        return builder.load(address, align=_ALIGNMENT, typ=vector.llvm)

    return vector(array, types.int64), emit


@intrinsic(prefer_literal=False)
def load_int16(typingctx, array, index):
    """Return ``array[index : index + 8]`` of a flat int16 array as float32; bounds are not checked."""
    flat = isinstance(array, types.Array) and array.ndim == 1 and array.layout == "C"
    if not flat or array.dtype != types.int16 or not isinstance(index, types.Integer):
        return None

    def emit(context, builder, sig, args):
        short = ir.VectorType(ir.IntType(16), LANES)
        address = builder.bitcast(_address(context, builder, sig.args[0], *args), short.as_pointer())
        return builder.sitofp(builder.load(address, align=2, typ=short), float32x8.llvm)

    return float32x8(array, types.int64), emit


@intrinsic(prefer_literal=False)
def store(typingctx, array, index, value):
    """Do ``array[index : index + 8] = value``; bounds are not checked."""
    if _vector_of(array) is not value or not isinstance(value, Vector) or not isinstance(index, types.Integer):
        return None

    def emit(context, builder, sig, args):
        address = _address(context, builder, sig.args[0], *args[:2])
        builder.store(args[2], builder.bitcast(address, value.llvm.as_pointer()), align=_ALIGNMENT)
        return context.get_dummy_value()

    return types.void(array, types.int64, value), emit


def _is_flat(array: types.Type, index: types.Type) -> bool:
    return isinstance(array, types.Array) and array.ndim == 1 and isinstance(index, types.Integer)


@intrinsic(prefer_literal=False)
def element(typingctx, array, index):
    """Return ``array[index]`` of a flat array, which an index below 0 does not count from the end."""
    if not _is_flat(array, index):
        return None

    def emit(context, builder, sig, args):
        address = _address(context, builder, sig.args[0], *args)
        return context.unpack_value(builder, sig.return_type, address)

    return array.dtype(array, types.int64), emit


@intrinsic(prefer_literal=False)
def put(typingctx, array, index, value):
    """Do ``array[index] = value``, as ``element`` reads."""
    if not _is_flat(array, index) or not isinstance(value, types.Number):
        return None

    def emit(context, builder, sig, args):
        address = _address(context, builder, sig.args[0], *args[:2])
        context.pack_value(builder, sig.args[0].dtype, args[2], address)
        return context.get_dummy_value()

    return types.void(array, types.int64, array.dtype), emit


@intrinsic(prefer_literal=False)
def broadcast(typingctx, scalar):
    """Return a vector with a float32 or int32 in every lane."""
    for vector in (float32x8, int32x8):
        if scalar == vector.scalar:
            return vector(scalar), lambda context, builder, sig, args: _broadcast(builder, args[0])
    return None


@intrinsic
def fmuladd(typingctx, a, b, c):
    """Return a b + c, rounded once where the CPU can; ``llvm.fma`` would call libm where it can't."""
    if not a == b == c == float32x8:
        return None

    def emit(context, builder, sig, args):
        kind = ir.FunctionType(float32x8.llvm, [float32x8.llvm] * 3)
        function = get_or_insert_function(builder.module, kind, f"llvm.fmuladd.v{LANES}f32")
        return builder.call(function, args)

    return float32x8(a, b, c), emit


@intrinsic
def select(typingctx, mask, yes, no):
    """Return ``yes`` in the lanes where the mask is set, else ``no``."""
    if mask != mask8 or yes != no or not isinstance(yes, Vector):
        return None
    return yes(mask, yes, no), lambda context, builder, sig, args: builder.select(*args)


@intrinsic
def maximum(typingctx, a, b):
    """Return the larger of two float32 in each lane; NaN is not catered for."""
    if not a == b == float32x8:
        return None

    def emit(context, builder, sig, args):
        return builder.select(builder.fcmp_ordered(">", *args), *args)

    return float32x8(a, b), emit


@intrinsic
def pick(typingctx, table, index):
    """Return in each lane the element of ``table`` (eight lanes) that the three lowest bits of ``index`` name."""
    if table != float32x8 or index != int32x8:
        return None

    def emit(context, builder, sig, args):
        if _host_has("avx2"):
            kind = ir.FunctionType(float32x8.llvm, [float32x8.llvm, int32x8.llvm])
            return builder.call(get_or_insert_function(builder.module, kind, "llvm.x86.avx2.permps"), args)
        lanes = [ir.Constant(ir.IntType(32), i) for i in range(LANES)]
        index = builder.and_(args[1], ir.Constant(int32x8.llvm, [LANES - 1] * LANES))
        picked = ir.Constant(float32x8.llvm, ir.Undefined)
        for lane in lanes:
            element = builder.extract_element(args[0], builder.extract_element(index, lane))
            picked = builder.insert_element(picked, element, lane)
        return picked

    return float32x8(table, index), emit


def _host_has(feature: str) -> bool:
    return bool(llvm.get_host_cpu_features().get(feature, False))


@intrinsic
def as_int32(typingctx, value):
    """Return the lanes as int32, rounded towards zero."""
    if value != float32x8:
        return None
    return int32x8(value), lambda context, builder, sig, args: builder.fptosi(args[0], int32x8.llvm)


@intrinsic
def as_float32(typingctx, value):
    """Return the lanes as float32."""
    if value != int32x8:
        return None
    return float32x8(value), lambda context, builder, sig, args: builder.sitofp(args[0], float32x8.llvm)


@intrinsic
def reinterpret_float32(typingctx, value):
    """Return the float32 that have the bits of the lanes."""
    if value != int32x8:
        return None
    return float32x8(value), lambda context, builder, sig, args: builder.bitcast(args[0], float32x8.llvm)


@intrinsic
def multiply_high(typingctx, a, b):
    """Return the upper 32 bits of the 64-bit product of the lanes, taken as unsigned."""
    if not a == b == int32x8:
        return None

    def emit(context, builder, sig, args):
        wide = ir.VectorType(ir.IntType(64), LANES)
        product = builder.mul(*(builder.zext(value, wide) for value in args))
        upper = builder.lshr(product, ir.Constant(wide, [32] * LANES))
        return builder.trunc(upper, int32x8.llvm)

    return int32x8(a, b), emit


@intrinsic
def bits(typingctx, mask):
    """Return the mask as an integer, lane 0 the lowest bit."""
    if mask != mask8:
        return None

    def emit(context, builder, sig, args):
        return builder.zext(builder.bitcast(args[0], ir.IntType(LANES)), ir.IntType(64))

    return types.int64(mask), emit


@intrinsic
def negative(typingctx, value):
    """Return the sign bits of the lanes as a mask; that of -0.0 is set."""
    if value != float32x8:
        return None

    def emit(context, builder, sig, args):
        integers = builder.bitcast(args[0], int32x8.llvm)
        return builder.icmp_signed("<", integers, ir.Constant(int32x8.llvm, [0] * LANES))

    return mask8(value), emit


@intrinsic(prefer_literal=False)
def trailing_zeros(typingctx, word):
    """Return the index of the lowest set bit of a positive integer."""
    if not isinstance(word, types.Integer):
        return None

    def emit(context, builder, sig, args):
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), emit
