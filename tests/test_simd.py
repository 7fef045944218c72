"""Every operation on vectors, lane by lane, against NumPy."""

import operator

import numba
import numpy as np
import pytest

from boltzspike import simd

A = np.array([-3.5, -1.0, -0.25, 0.0, 0.25, 1.0, 2.75, 1e9], dtype=np.float32)
B = np.array([1.5, -1.0, 4.0, -2.0, 0.25, 3.0, -7.125, 3.0], dtype=np.float32)
C = np.array([0.1, 0.2, -0.3, 1e-7, -5.0, 6.0, 1e5, 1.0], dtype=np.float32)
I = np.array([-(2**31), -7, -1, 0, 1, 12, 2**30, 2**31 - 1], dtype=np.int32)
J = np.array([3, -7, 5, 0, -1, 13, 2**30 + 1, 2], dtype=np.int32)


def compiled(operation, result=np.float32):
    """Return a function of arrays that loads vectors, applies the operation and stores what it gives."""
    operation = numba.njit(operation)

    @numba.njit
    def one(x, out):
        simd.store(out, 0, operation(simd.load(x, 0)))

    @numba.njit
    def two(x, y, out):
        simd.store(out, 0, operation(simd.load(x, 0), simd.load(y, 0)))

    @numba.njit
    def three(x, y, z, out):
        simd.store(out, 0, operation(simd.load(x, 0), simd.load(y, 0), simd.load(z, 0)))

    def call(*arrays):
        out = np.full(simd.LANES, 99, dtype=result)
        (one, two, three)[len(arrays) - 1](*arrays, out)
        return out

    return call


@pytest.mark.parametrize("name", ["add", "sub", "mul"])
@pytest.mark.parametrize(("x", "y"), [(A, B), (I, J)], ids=["float32", "int32"])
def test_arithmetic(name, x, y):
    operation = getattr(operator, name)
    with np.errstate(over="ignore"):
        expected = operation(x, y)
    assert np.array_equal(compiled(lambda a, b: operation(a, b), x.dtype)(x, y), expected)


@pytest.mark.parametrize("name", ["and_", "or_", "xor"])
def test_bitwise_operations(name):
    operation = getattr(operator, name)
    assert np.array_equal(compiled(lambda a, b: operation(a, b), np.int32)(I, J), operation(I, J))


@pytest.mark.parametrize("count", [0, 1, 9, 31])
def test_shifts_wrap_nothing_and_fill_with_zeros(count):
    words = I.view(np.uint32)
    left, right = compiled(lambda a: a << count, np.int32), compiled(lambda a: a >> count, np.int32)
    assert np.array_equal(left(I).view(np.uint32), words << np.uint32(count))
    assert np.array_equal(right(I).view(np.uint32), words >> np.uint32(count))


@pytest.mark.parametrize("name", ["lt", "ge"])
def test_float_comparisons_select_lanes(name):
    operation = getattr(operator, name)
    chosen = compiled(lambda a, b, c: simd.select(operation(a, b), c, a))
    assert np.array_equal(chosen(A, B, C), np.where(operation(A, B), C, A))


@pytest.mark.parametrize("name", ["lt", "gt"])
def test_int_comparisons_are_signed_and_select_lanes(name):
    operation = getattr(operator, name)
    chosen = compiled(lambda a, b: simd.select(operation(a, b), a, b), np.int32)
    assert np.array_equal(chosen(I, J), np.where(operation(I, J), I, J))


def test_fmuladd_is_a_product_and_a_sum():
    exact = A.astype(float) * B + C
    assert np.allclose(compiled(simd_fmuladd)(A, B, C), exact, rtol=2e-7, atol=1e-7)


def simd_fmuladd(a, b, c):
    return simd.fmuladd(a, b, c)


def test_maximum():
    assert np.array_equal(compiled(lambda a, b: simd.maximum(a, b))(A, B), np.maximum(A, B))


def test_conversions():
    assert np.array_equal(compiled(lambda a: simd.as_int32(a), np.int32)(A), A.astype(np.int32))
    assert np.array_equal(compiled(lambda a: simd.as_float32(a))(I), I.astype(np.float32))


def test_multiply_high_is_the_upper_half_of_the_unsigned_product():
    upper = compiled(lambda a, b: simd.multiply_high(a, b), np.int32)(I, J)
    wide = I.view(np.uint32).astype(np.uint64) * J.view(np.uint32).astype(np.uint64)
    assert np.array_equal(upper.view(np.uint32), (wide >> np.uint64(32)).astype(np.uint32))


def test_a_float_is_made_of_its_bits():
    assert np.array_equal(compiled(lambda a: simd.reinterpret_float32(a))(C.view(np.int32)), C)


def test_load_and_store_take_any_offset_and_touch_eight_lanes():
    @numba.njit
    def move(source, target):
        simd.store(target, 5, simd.load(source, 3))

    for dtype in (np.float32, np.int32):
        source, target = np.arange(20, dtype=dtype), np.zeros(20, dtype=dtype)
        move(source, target)
        expected = np.zeros(20, dtype=dtype)
        expected[5:13] = source[3:11]
        assert np.array_equal(target, expected)


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.int64, np.float32])
def test_an_element_is_read_and_put(dtype):
    @numba.njit
    def swap(x, i, j):
        first = simd.element(x, i)
        simd.put(x, i, simd.element(x, j))
        simd.put(x, j, first)

    x = np.arange(5).astype(dtype)
    swap(x, 1, 4)
    assert np.array_equal(x, np.array([0, 4, 2, 3, 1], dtype=dtype))


def test_an_index_does_not_count_from_the_end():
    @numba.njit
    def before(x):
        return simd.element(x[2:], -1)

    assert before(np.arange(5.0)) == 1.0


def test_broadcast_fills_every_lane():
    @numba.njit
    def fill(value, out):
        simd.store(out, 0, simd.broadcast(value))

    for value in (np.float32(1.25), np.int32(-7)):
        out = np.zeros(simd.LANES, dtype=type(value))
        fill(value, out)
        assert np.all(out == value)


def test_masks_as_bits():
    @numba.njit
    def masks(x, y):
        below, above = simd.load(x, 0) < simd.load(y, 0), simd.load(x, 0) >= simd.load(y, 0)
        return simd.bits(below), simd.bits(below & above), simd.bits(below | above), simd.bits(below ^ above)

    below = int(np.sum((A < B) << np.arange(simd.LANES)))
    assert masks(A, B) == (below, 0, 255, 255)


def test_negative_is_the_sign_bit():
    @numba.njit
    def negative(x):
        return simd.bits(simd.negative(simd.load(x, 0)))

    x = A.copy()
    x[3] = -0.0
    assert negative(x) == int(np.sum(np.signbit(x) << np.arange(simd.LANES)))


def test_trailing_zeros():
    @numba.njit
    def lowest(word):
        return simd.trailing_zeros(word)

    assert [lowest(1 << k) for k in range(63)] == list(range(63))
    assert lowest(0b101000) == 3
