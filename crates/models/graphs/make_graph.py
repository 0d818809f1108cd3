"""Writes all-MiniLM-L6-v2.onnx: the network as a graph without weights, which stay in the published model.safetensors.

    pip install onnx
    python make_graph.py path/to/model.safetensors

Every weight is "external data": a place and a length inside the safetensors file. The three projections of attention
are one product, the scale of the scores is part of the query's weights, and the one token type is part of the
positions: what depends on weights alone is computed once, when the graph is loaded.
"""

import json
import math
import struct
import sys
from pathlib import Path

import onnx
from onnx import TensorProto, helper

LAYERS, HEADS, WIDTH, INNER, VOCABULARY, POSITIONS = 6, 12, 384, 1536, 30522, 512


class Graph:
    """Collects nodes and initializers; every method returns the name of its result."""

    def __init__(self, safetensors: Path) -> None:
        with safetensors.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            self.header = json.loads(file.read(length))
        self.start = 8 + length
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def op(self, kind: str, *inputs: str, outputs: int = 1, **attributes: object) -> str:
        names = [f"{kind}_{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names[0]

    def ints(self, *values: int) -> str:
        name = "ints_" + "_".join(map(str, values))
        if all(tensor.name != name for tensor in self.initializers):
            self.initializers.append(helper.make_tensor(name, TensorProto.INT64, [len(values)], values))
        return name

    def float(self, value: float) -> str:
        name = f"float_{value}"
        if all(tensor.name != name for tensor in self.initializers):
            self.initializers.append(helper.make_tensor(name, TensorProto.FLOAT, [], [value]))
        return name

    def weight(self, name: str, *shape: int) -> str:
        entry = self.header[name]
        assert entry["dtype"] == "F32" and entry["shape"] == list(shape), (name, entry)
        if all(tensor.name != name for tensor in self.initializers):
            begin, end = entry["data_offsets"]
            tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape)
            tensor.data_location = TensorProto.EXTERNAL
            for key, value in [("location", "weights.data"), ("offset", self.start + begin), ("length", end - begin)]:
                tensor.external_data.add(key=key, value=str(value))
            self.initializers.append(tensor)
        return name

    def matrix(self, name: str, rows: int, columns: int) -> str:
        """PyTorch keeps the matrix of a linear layer with its outputs as rows."""
        return self.op("Transpose", self.weight(name, rows, columns), perm=[1, 0])

    def norm(self, x: str, name: str) -> str:
        scale, bias = self.weight(f"{name}.weight", WIDTH), self.weight(f"{name}.bias", WIDTH)
        return self.op("LayerNormalization", x, scale, bias, axis=-1, epsilon=1e-12)

    def linear(self, x: str, name: str, outputs: int, inputs: int) -> str:
        product = self.op("MatMul", x, self.matrix(f"{name}.weight", outputs, inputs))
        return self.op("Add", product, self.weight(f"{name}.bias", outputs))


def attention(g: Graph, x: str, mask: str, layer: str) -> str:
    size = WIDTH // HEADS
    scale = g.float(1 / math.sqrt(size))
    matrices, biases = [], []
    for part in ["query", "key", "value"]:
        matrix = g.matrix(f"{layer}.attention.self.{part}.weight", WIDTH, WIDTH)
        bias = g.weight(f"{layer}.attention.self.{part}.bias", WIDTH)
        matrices.append(g.op("Mul", matrix, scale) if part == "query" else matrix)
        biases.append(g.op("Mul", bias, scale) if part == "query" else bias)
    joined = g.op("MatMul", x, g.op("Concat", *matrices, axis=1))
    joined = g.op("Add", joined, g.op("Concat", *biases, axis=0))
    g.op("Split", joined, g.ints(WIDTH, WIDTH, WIDTH), outputs=3, axis=2)
    query, key, value = g.nodes[-1].output

    def heads(part: str, perm: list[int]) -> str:
        return g.op("Transpose", g.op("Reshape", part, g.ints(0, 0, HEADS, size)), perm=perm)

    scores = g.op("MatMul", heads(query, [0, 2, 1, 3]), heads(key, [0, 2, 3, 1]))
    weights = g.op("Softmax", g.op("Add", scores, mask), axis=-1)
    mixed = g.op("MatMul", weights, heads(value, [0, 2, 1, 3]))
    mixed = g.op("Reshape", g.op("Transpose", mixed, perm=[0, 2, 1, 3]), g.ints(0, 0, WIDTH))
    return g.linear(mixed, f"{layer}.attention.output.dense", WIDTH, WIDTH)


def gelu(g: Graph, x: str) -> str:
    erf = g.op("Erf", g.op("Div", x, g.float(math.sqrt(2))))
    return g.op("Mul", g.op("Mul", x, g.op("Add", erf, g.float(1.0))), g.float(0.5))


def main() -> None:
    g = Graph(Path(sys.argv[1]))
    length = g.op("Slice", g.op("Shape", "input_ids"), g.ints(1), g.ints(2))
    kind = g.op("Slice", g.weight("embeddings.token_type_embeddings.weight", 2, WIDTH), g.ints(0), g.ints(1), g.ints(0))
    places = g.op("Add", g.weight("embeddings.position_embeddings.weight", POSITIONS, WIDTH), kind)
    places = g.op("Slice", places, g.ints(0), length, g.ints(0))
    words = g.op("Gather", g.weight("embeddings.word_embeddings.weight", VOCABULARY, WIDTH), "input_ids", axis=0)
    x = g.norm(g.op("Add", words, places), "embeddings.LayerNorm")
    # One becomes zero, zero a number that leaves nothing after the softmax.
    mask = g.op("Cast", "attention_mask", to=TensorProto.FLOAT)
    mask = g.op("Mul", g.op("Sub", mask, g.float(1.0)), g.float(1e9))
    mask = g.op("Unsqueeze", mask, g.ints(1, 2))
    for number in range(LAYERS):
        layer = f"encoder.layer.{number}"
        x = g.norm(g.op("Add", attention(g, x, mask, layer), x), f"{layer}.attention.output.LayerNorm")
        inner = gelu(g, g.linear(x, f"{layer}.intermediate.dense", INNER, WIDTH))
        x = g.norm(g.op("Add", g.linear(inner, f"{layer}.output.dense", WIDTH, INNER), x), f"{layer}.output.LayerNorm")
    g.nodes[-1].output[0] = "last_hidden_state"

    sizes = ["batch", "sequence"]
    inputs = [helper.make_tensor_value_info(n, TensorProto.INT64, sizes) for n in ["input_ids", "attention_mask"]]
    outputs = [helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, [*sizes, WIDTH])]
    graph = helper.make_graph(g.nodes, "all-MiniLM-L6-v2", inputs, outputs, g.initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model.producer_name = "ragstone"
    path = Path(__file__).with_name("all-MiniLM-L6-v2.onnx")
    path.write_bytes(model.SerializeToString(deterministic=True))
    print(path, path.stat().st_size, "bytes,", len(g.nodes), "nodes")


main()
