"""Shape of what each operator computes, for the operators that a policy may have.

Source: the operator definitions of ONNX 1.23, https://onnx.ai/onnx/operators
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from foreact.deploy_edge.runtime.onnx_outline import Constant, Node

__all__ = ["RULES", "Call", "Shape", "ShapeError"]

type Shape = tuple[int, ...]
type Rule = Callable[["Call"], list[Shape]]


class ShapeError(ValueError):
    """A node that is not allowed, or whose shapes do not fit or are too large."""


@dataclass(frozen=True)
class Call:
    """One node with what is known of its inputs.

    Attributes:
        node: The operator.
        shapes: Of its inputs; None for one that is left out.
        constants: Values of small constant inputs, flat; None for others.
        opset: Version of the node's operator set.
    """

    node: Node
    shapes: tuple[Shape | None, ...]
    constants: tuple[np.ndarray | None, ...]
    opset: int

    def shape(self, index: int = 0) -> Shape:
        """Shape of an input that must be there."""
        found = self.maybe(index)
        if found is None:
            raise ShapeError(f"input {index} is missing")
        return found

    def maybe(self, index: int) -> Shape | None:
        """Shape of an input that may be left out."""
        return self.shapes[index] if index < len(self.shapes) else None

    def whole(self, index: int) -> list[int]:
        """Values of an input that must be a constant: otherwise nobody knows what it will ask for."""
        values = self.constants[index] if index < len(self.constants) else None
        if values is None or values.dtype.kind not in "iu":
            raise ShapeError(f"input {index} must be a small constant of whole numbers")
        return [int(each) for each in values]

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute, or what it is when it is left out."""
        return self.node.attributes.get(name, default)

    def axes(self, index: int, rank: int) -> list[int]:
        """Axes from an input, or from the attribute of older operator sets; all if there are none."""
        if self.maybe(index) is not None:
            found = self.whole(index)
        else:
            found = list(self.attribute("axes") or [])
        return [normal(axis, rank) for axis in found]


def normal(axis: int, rank: int) -> int:
    """An axis counted from the front."""
    if not -rank <= axis < rank:
        raise ShapeError(f"axis {axis} of {rank}")
    return axis % rank


def broadcast(shapes: Sequence[Shape]) -> Shape:
    """The shape that all these are stretched to."""
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError as error:
        raise ShapeError(str(error)) from error


def _same(call: Call) -> list[Shape]:
    return [call.shape()] * len(call.node.outputs)


def _broadcast(call: Call) -> list[Shape]:
    return [broadcast([call.shape(index) for index in range(len(call.shapes))])]


def _normalised(call: Call) -> list[Shape]:
    shape = call.shape()
    axis = normal(call.attribute("axis", -1), len(shape))
    kept = (*shape[:axis], *(1 for _ in shape[axis:]))
    return [shape, kept, kept]


def _dynamic_quantise(call: Call) -> list[Shape]:
    return [call.shape(), (), ()]


def _product(a: Shape, b: Shape) -> Shape:
    if not a or not b:
        raise ShapeError("a product with a number")
    left, right = (1, *a) if len(a) == 1 else a, (*b, 1) if len(b) == 1 else b
    if left[-1] != right[-2]:
        raise ShapeError(f"a product of {a} and {b}")
    whole = (*broadcast([left[:-2], right[:-2]]), left[-2], right[-1])
    return tuple(
        extent
        for place, extent in enumerate(whole)
        if not (len(a) == 1 and place == len(whole) - 2) and not (len(b) == 1 and place == len(whole) - 1)
    )


def _matmul(call: Call) -> list[Shape]:
    return [_product(call.shape(0), call.shape(1))]


def _quantised_matmul(call: Call) -> list[Shape]:
    return [_product(call.shape(0), call.shape(3))]


def _matmul_bits(call: Call) -> list[Shape]:
    if call.shape()[-1] != call.attribute("K"):
        raise ShapeError(f"K={call.attribute('K')} of {call.shape()}")
    return [(*call.shape()[:-1], call.attribute("N"))]


def _gemm(call: Call) -> list[Shape]:
    a, b = call.shape(0), call.shape(1)
    return [_product(a[::-1] if call.attribute("transA", 0) else a, b[::-1] if call.attribute("transB", 0) else b)]


def _windows(call: Call, sizes: Shape, kernel: Sequence[int]) -> Shape:
    """Places of a sliding window along each axis."""
    strides = call.attribute("strides") or [1] * len(sizes)
    dilations = call.attribute("dilations") or [1] * len(sizes)
    pads = call.attribute("pads") or [0] * (2 * len(sizes))
    if min([*strides, *dilations, *kernel]) < 1 or min(pads) < 0 or len(pads) != 2 * len(sizes):
        raise ShapeError(f"window {list(kernel)}, strides {strides}, dilations {dilations}, pads {pads}")
    mode, up = call.attribute("auto_pad", b"NOTSET"), call.attribute("ceil_mode", 0)
    found: list[int] = []
    for axis, (size, width, stride, dilation) in enumerate(zip(sizes, kernel, strides, dilations, strict=True)):
        if mode in (b"SAME_UPPER", b"SAME_LOWER"):
            found.append(-(-size // stride))
            continue
        room = size + pads[axis] + pads[axis + len(sizes)] - (dilation * (width - 1) + 1)
        found.append((-(-room // stride) if up else room // stride) + 1)
    if min(found) < 1:
        raise ShapeError(f"a window {list(kernel)} over {sizes}")
    return tuple(found)


def _convolution(image: Shape, weights: Shape, call: Call) -> list[Shape]:
    if len(image) < 3 or len(weights) != len(image) or image[1] != weights[1] * call.attribute("group", 1):
        raise ShapeError(f"a convolution of {image} with {weights}")
    return [(image[0], weights[0], *_windows(call, image[2:], weights[2:]))]


def _conv(call: Call) -> list[Shape]:
    return _convolution(call.shape(0), call.shape(1), call)


def _quantised_conv(call: Call) -> list[Shape]:
    return _convolution(call.shape(0), call.shape(3), call)


def _pool(call: Call) -> list[Shape]:
    image = call.shape()
    result = (*image[:2], *_windows(call, image[2:], call.attribute("kernel_shape")))
    return [result] * len(call.node.outputs)


def _global_pool(call: Call) -> list[Shape]:
    return [(*call.shape()[:2], *(1 for _ in call.shape()[2:]))]


def _reshape(call: Call) -> list[Shape]:
    shape, wanted = call.shape(), call.whole(1)
    if not call.attribute("allowzero", 0):
        wanted = [shape[place] if extent == 0 else extent for place, extent in enumerate(wanted)]
    known = math.prod(extent for extent in wanted if extent != -1)
    if wanted.count(-1) == 1 and known > 0:
        wanted[wanted.index(-1)] = math.prod(shape) // known
    if min(wanted, default=0) < 0 or math.prod(wanted) != math.prod(shape):
        raise ShapeError(f"{shape} as {wanted}")
    return [tuple(wanted)]


def _flatten(call: Call) -> list[Shape]:
    shape, axis = call.shape(), call.attribute("axis", 1)
    axis = axis + len(shape) if axis < 0 else axis
    return [(math.prod(shape[:axis]), math.prod(shape[axis:]))]


def _transpose(call: Call) -> list[Shape]:
    shape = call.shape()
    order = call.attribute("perm") or list(range(len(shape)))[::-1]
    if sorted(order) != list(range(len(shape))):
        raise ShapeError(f"{shape} in the order {order}")
    return [tuple(shape[axis] for axis in order)]


def _squeeze(call: Call) -> list[Shape]:
    shape = call.shape()
    axes = call.axes(1, len(shape)) or [axis for axis, extent in enumerate(shape) if extent == 1]
    if any(shape[axis] != 1 for axis in axes):
        raise ShapeError(f"{shape} without its axes {axes}")
    return [tuple(extent for axis, extent in enumerate(shape) if axis not in axes)]


def _unsqueeze(call: Call) -> list[Shape]:
    shape = call.shape()
    rank = len(shape) + len(call.whole(1) if call.maybe(1) is not None else call.attribute("axes"))
    axes, left = set(call.axes(1, rank)), iter(shape)
    return [tuple(1 if axis in axes else next(left) for axis in range(rank))]


def _expand(call: Call) -> list[Shape]:
    wanted = tuple(call.whole(1))
    if min(wanted, default=0) < 0:
        raise ShapeError(f"expanded to {wanted}")
    return [broadcast([call.shape(), wanted])]


def _tile(call: Call) -> list[Shape]:
    return [tuple(extent * times for extent, times in zip(call.shape(), call.whole(1), strict=True))]


def _concat(call: Call) -> list[Shape]:
    shapes = [call.shape(index) for index in range(len(call.shapes))]
    axis = normal(call.attribute("axis"), len(shapes[0]))
    if len({(*shape[:axis], *shape[axis + 1 :]) for shape in shapes}) != 1:
        raise ShapeError(f"joined {shapes} along axis {axis}")
    return [(*shapes[0][:axis], sum(shape[axis] for shape in shapes), *shapes[0][axis + 1 :])]


def _split(call: Call) -> list[Shape]:
    shape, count = call.shape(), len(call.node.outputs)
    axis = normal(call.attribute("axis", 0), len(shape))
    if call.maybe(1) is not None:
        parts = call.whole(1)
    else:
        most = -(-shape[axis] // count)
        parts = [*[most] * (count - 1), shape[axis] - most * (count - 1)]
    if len(parts) != count or sum(parts) != shape[axis] or min(parts) < 0:
        raise ShapeError(f"{shape} split into {parts}")
    return [(*shape[:axis], part, *shape[axis + 1 :]) for part in parts]


def _slice(call: Call) -> list[Shape]:
    shape = list(call.shape())
    starts, ends = call.whole(1), call.whole(2)
    axes = call.axes(3, len(shape)) if call.maybe(3) is not None else list(range(len(starts)))
    steps = call.whole(4) if call.maybe(4) is not None else [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        shape[axis] = len(range(*slice(start, end, step).indices(shape[axis])))
    return [tuple(shape)]


def _gather(call: Call) -> list[Shape]:
    shape = call.shape()
    axis = normal(call.attribute("axis", 0), len(shape))
    return [(*shape[:axis], *call.shape(1), *shape[axis + 1 :])]


def _gather_elements(call: Call) -> list[Shape]:
    return [call.shape(1)]


def _gather_nd(call: Call) -> list[Shape]:
    data, places, batch = call.shape(), call.shape(1), call.attribute("batch_dims", 0)
    return [(*places[:-1], *data[batch + places[-1] :])]


def _pad(call: Call) -> list[Shape]:
    shape, pads = list(call.shape()), call.whole(1)
    axes = call.axes(3, len(shape)) if call.maybe(3) is not None else list(range(len(shape)))
    for place, axis in enumerate(axes):
        shape[axis] += pads[place] + pads[place + len(axes)]
    if min(shape, default=0) < 0:
        raise ShapeError(f"{call.shape()} padded by {pads}")
    return [tuple(shape)]


def _resize(call: Call) -> list[Shape]:
    shape = call.shape()
    if call.attribute("axes"):
        raise ShapeError("a resize of some axes only")
    if call.maybe(3) is not None:
        wanted = tuple(call.whole(3))
    else:
        scales = call.constants[2] if len(call.constants) > 2 else None
        if scales is None or not np.isfinite(scales).all():
            raise ShapeError("input 2 must be a small constant")
        wanted = tuple(math.floor(extent * float(scale)) for extent, scale in zip(shape, scales, strict=True))
    if len(wanted) != len(shape) or min(wanted, default=0) < 0:
        raise ShapeError(f"{shape} resized to {wanted}")
    return [wanted]


def _reduce(call: Call) -> list[Shape]:
    shape = call.shape()
    axes = call.axes(1, len(shape))
    if not axes and call.attribute("noop_with_empty_axes", 0):
        return [shape]
    return [_without(shape, axes or list(range(len(shape))), call.attribute("keepdims", 1))]


def _arg(call: Call) -> list[Shape]:
    shape = call.shape()
    return [_without(shape, [normal(call.attribute("axis", 0), len(shape))], call.attribute("keepdims", 1))]


def _without(shape: Shape, axes: list[int], keep: int) -> Shape:
    return tuple(1 if axis in axes else extent for axis, extent in enumerate(shape) if keep or axis not in axes)


def _top_k(call: Call) -> list[Shape]:
    shape = list(call.shape())
    shape[normal(call.attribute("axis", -1), len(shape))] = call.whole(1)[0]
    return [tuple(shape)] * 2


def _depth_to_space(call: Call) -> list[Shape]:
    (count, channels, height, width), side = call.shape(), call.attribute("blocksize")
    return [(count, channels // side**2, height * side, width * side)]


def _constant(call: Call) -> list[Shape]:
    held: Mapping[str, Any] = call.node.attributes
    if isinstance(held.get("value"), Constant):
        return [held["value"].shape]
    if "value_int" in held or "value_float" in held:
        return [()]
    if "value_ints" in held:
        return [(len(held["value_ints"]),)]
    raise ShapeError("a constant without a tensor")


def _constant_of_shape(call: Call) -> list[Shape]:
    return [tuple(call.whole(0))]


def _shape_of(call: Call) -> list[Shape]:
    rank = len(call.shape())
    return [(len(range(rank)[slice(call.attribute("start", 0), call.attribute("end", rank))]),)]


def _range(call: Call) -> list[Shape]:
    start, end, step = (call.whole(index)[0] for index in range(3))
    return [(len(range(start, end, step)),)]


def _attention(call: Call) -> list[Shape]:
    queries, keys, values = call.shape(0), call.shape(1), call.shape(2)
    if len(call.node.outputs) > 1 or len(queries) not in (3, 4):
        raise ShapeError("attention with more than one result, or over other than 3 or 4 axes")
    if len(queries) == 4:
        return [(*queries[:3], values[3])]
    heads, kv_heads = call.attribute("q_num_heads"), call.attribute("kv_num_heads")
    if len(keys) != 3 or len(values) != 3:
        raise ShapeError(f"attention of {queries}, {keys} and {values}")
    return [(*queries[:2], heads * (values[2] // kv_heads))]


def _einsum(call: Call) -> list[Shape]:
    equation = call.attribute("equation").decode().replace(" ", "")
    left, arrow, right = equation.partition("->")
    extents: dict[str, int] = {}
    for index, letters in enumerate(left.split(",")):
        for letter, extent in zip(letters, call.shape(index), strict=True):
            if extents.setdefault(letter, extent) != extent:
                raise ShapeError(f"{equation} with {letter} of two sizes")
    if not arrow or "." in equation:
        raise ShapeError(f"einsum {equation}")
    return [tuple(extents[letter] for letter in right)]


_SAME = (
    "Abs Acos Acosh Asin Asinh Atan Atanh BatchNormalization BitwiseNot Cast Ceil Celu Clip Cos Cosh CumSum "
    "DequantizeLinear Elu Erf Exp Floor Gelu GroupNormalization HardSigmoid HardSwish Hardmax Identity "
    "InstanceNormalization IsInf IsNaN LRN LeakyRelu Log LogSoftmax LpNormalization MeanVarianceNormalization Mish Neg "
    "Not QuantizeLinear Reciprocal Relu Round RotaryEmbedding ScatterElements ScatterND Selu Shrink Sigmoid Sign Sin "
    "Sinh Softmax Softplus Softsign Sqrt Swish Tan Tanh ThresholdedRelu Trilu"
)
_BROADCAST = (
    "Add And BitShift BitwiseAnd BitwiseOr BitwiseXor Div Equal Greater GreaterOrEqual Less LessOrEqual Max Mean Min "
    "Mod Mul Or PRelu Pow Sub Sum Where Xor"
)
_REDUCE = "L1 L2 LogSum LogSumExp Max Mean Min Prod Sum SumSquare"

RULES: dict[tuple[str, str], Rule] = {
    **{("", name): _same for name in _SAME.split()},
    **{("", name): _broadcast for name in _BROADCAST.split()},
    **{("", f"Reduce{name}"): _reduce for name in _REDUCE.split()},
    **{("", f"{name}Pool"): _pool for name in ("Average", "Max", "Lp")},
    **{("", f"Global{name}Pool"): _global_pool for name in ("Average", "Max", "Lp")},
    **{("", name): _normalised for name in ("LayerNormalization", "RMSNormalization")},
    **{("", name): _arg for name in ("ArgMax", "ArgMin")},
    **{("", name): _matmul for name in ("MatMul", "MatMulInteger")},
    **{("", name): _conv for name in ("Conv", "ConvInteger")},
    ("", "Attention"): _attention,
    ("", "Concat"): _concat,
    ("", "Constant"): _constant,
    ("", "ConstantOfShape"): _constant_of_shape,
    ("", "DepthToSpace"): _depth_to_space,
    ("", "DynamicQuantizeLinear"): _dynamic_quantise,
    ("", "Einsum"): _einsum,
    ("", "Expand"): _expand,
    ("", "Flatten"): _flatten,
    ("", "Gather"): _gather,
    ("", "GatherElements"): _gather_elements,
    ("", "GatherND"): _gather_nd,
    ("", "Gemm"): _gemm,
    ("", "Pad"): _pad,
    ("", "QLinearConv"): _quantised_conv,
    ("", "QLinearMatMul"): _quantised_matmul,
    ("", "Range"): _range,
    ("", "Reshape"): _reshape,
    ("", "Resize"): _resize,
    ("", "Shape"): _shape_of,
    ("", "Slice"): _slice,
    ("", "Split"): _split,
    ("", "Squeeze"): _squeeze,
    ("", "Tile"): _tile,
    ("", "TopK"): _top_k,
    ("", "Transpose"): _transpose,
    ("", "Unsqueeze"): _unsqueeze,
    ("com.microsoft", "DequantizeLinear"): _same,
    ("com.microsoft", "QuantizeLinear"): _same,
    ("com.microsoft", "MatMulNBits"): _matmul_bits,
}
