"""Small numpy pieces shared by the references; float64, and complex where a gradient is taken.

Every function also works on complex input, because gradients are taken by the complex step
(Squire and Trapp 1998): grad f(x)[i] = Im f(x + 1j h e_i) / h. No subtraction is involved, so
the result is exact to rounding. Comparisons look at the real part only.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Array = np.ndarray
STEP = 1e-30


def plain_numbers(*shape: int, seed: int, scale: float = 1.0) -> Array:
    """Two-decimal numbers in [-scale, scale] from a linear congruential generator."""
    state, out = 7919 * seed + 1, []
    for _ in range(int(np.prod(shape))):
        state = (1103515245 * state + 12345) % 2**31
        out.append(round(((state >> 12) % 201 / 100 - 1) * scale, 4))
    return np.array(out).reshape(shape)


def layer(width: int, inputs: int, *, seed: int) -> dict[str, Array]:
    """A linear layer's weights; the bias is not negative, which keeps ReLU units alive."""
    weight, bias = plain_numbers(width, inputs, seed=seed), plain_numbers(width, seed=seed + 500)
    return {"W": weight, "b": np.abs(bias)}


def log_sum_exp(x: Array) -> complex | float:
    """log(sum(exp(x))) of one vector; entries may be -inf."""
    top = np.max(x.real)
    return top + np.log(np.sum(np.exp(x - top)))


def softmax(x: Array) -> Array:
    """exp(x) / sum(exp(x)) of one vector; entries may be -inf."""
    return np.exp(x - log_sum_exp(x))


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x))."""
    return 1 / (1 + np.exp(-x))


def relu(x: Array) -> Array:
    """max(x, 0), by the real part."""
    return np.where(x.real > 0, x, 0)


def squash(z: Array) -> Array:
    """|z|^2 / (1 + |z|^2) * z / |z|, and zero at zero (Sabour 2017, eq. 1)."""
    square = np.sum(z * z)
    if square.real == 0:
        return z * 0
    return square / (1 + square) * z / np.sqrt(square)


def normalise(x: Array) -> Array:
    """x / |x|, and zero at zero."""
    square = np.sum(x * x)
    return x * 0 if square.real == 0 else x / np.sqrt(square)


def cosines(a: Array, b: Array) -> Array:
    """The cosine of every row of a with every row of b; 0 where either row is zero."""
    unit_a = np.array([normalise(row) for row in a]).reshape(a.shape)
    unit_b = np.array([normalise(row) for row in b]).reshape(b.shape)
    return unit_a @ unit_b.T


def linear(x: Array, weight: Array, bias: Array) -> Array:
    """weight @ x + bias with weight [out, in], as torch.nn.Linear stores it."""
    return weight @ x + bias


def mlp(x: Array, layers: list[dict[str, Array]], *, last_relu: bool = False) -> Array:
    """Linear layers with ReLU between them; the last one is linear unless last_relu."""
    for depth, layer in enumerate(layers):
        x = linear(x, layer["W"], layer["b"])
        if depth < len(layers) - 1 or last_relu:
            x = relu(x)
    return x


def gradient(f: Callable[[Array], complex | float], x: Array) -> Array:
    """Complex-step gradient of a scalar function at the real array x."""
    out = np.zeros(x.shape)
    for index in np.ndindex(*x.shape):
        moved = x.astype(complex)
        moved[index] += 1j * STEP
        out[index] = np.imag(f(moved)) / STEP
    return out


def finite_differences(f: Callable[[Array], complex | float], x: Array) -> Array:
    """Central differences of the same function: the slow check of `gradient`."""
    out, h = np.zeros(x.shape), 1e-6
    for index in np.ndindex(*x.shape):
        up, down = x.copy(), x.copy()
        up[index] += h
        down[index] -= h
        out[index] = (np.real(f(up)) - np.real(f(down))) / (2 * h)
    return out


def checked_gradient(f: Callable[[Array], complex | float], x: Array) -> Array:
    """The complex-step gradient, after it was found equal to central differences."""
    exact = gradient(f, x)
    np.testing.assert_allclose(exact, finite_differences(f, x), rtol=1e-6, atol=1e-8)
    return exact
