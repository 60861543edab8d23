"""The same inputs as JSON and as tensors: equal rows, whichever protocol carries them."""

import json
import struct

import msgspec
import numpy as np
import pytest

from clipper.errors import InvalidInput
from clipper.inputs import encode_input
from clipper.loadgen import InputSource, Target
from clipper.loadgen.dialect import http_dialect
from clipper.loadgen.inputs import Tensor, open_inputs, open_tensors

DTYPES = {"FP64": "<f8", "FP32": "<f4", "INT32": "<i4"}
TARGET = Target("127.0.0.1", 1337, "app", "oip")


def row_of_tensor(tensor, input_type):
    return encode_input(input_type, np.frombuffer(tensor.data, DTYPES[tensor.datatype]))


def of_file(tmp_path, input_type, *lines):
    path = tmp_path / "inputs.jsonl"
    path.write_text("\n".join(lines))
    return InputSource(input_type=input_type, file=str(path))


@pytest.mark.parametrize("input_type", ["doubles", "floats", "integers"])
@pytest.mark.parametrize("width", [1, 3, 10])
@pytest.mark.parametrize("distinct", [None, 7])
def test_drawn_numbers_are_the_same_as_json_and_as_a_tensor(input_type, width, distinct):
    source = InputSource(input_type=input_type, width=width, distinct=distinct)
    as_json, as_tensor = open_inputs(source, 5), open_tensors(source, 5)
    for index in [*range(50), 1021, 10**7]:
        row = encode_input(input_type, json.loads(as_json(index)))
        assert row_of_tensor(as_tensor(index), input_type) == row


@pytest.mark.parametrize(("input_type", "data"), [("strings", b"query "), ("bytes", b"query ")])
def test_drawn_texts_and_bytes_are_elements(input_type, data):
    tensor = open_tensors(InputSource(input_type=input_type), 1)(0)
    assert tensor.datatype == "BYTES"
    assert tensor.data.startswith(data)


def test_numbers_of_a_file_are_tensors_of_the_input_type(tmp_path):
    tensors = open_tensors(of_file(tmp_path, "doubles", "[1, 2.5]", "[3]"), 0)
    assert [tensors(0), tensors(1)] == [
        Tensor("FP64", struct.pack("<2d", 1, 2.5)),
        Tensor("FP64", struct.pack("<d", 3)),
    ]


def test_what_is_no_tensor_of_numbers_goes_as_json_for_the_server_to_refuse(tmp_path):
    lines = ('"text"', "[true]", '["1"]', "[[1]]", "null")
    tensors = open_tensors(of_file(tmp_path, "doubles", *lines), 0)
    assert [tensors(i) for i in range(5)] == [Tensor("BYTES", line.encode()) for line in lines]


def test_whole_floats_are_integers_and_fractions_are_left_to_the_server(tmp_path):
    tensors = open_tensors(of_file(tmp_path, "integers", "[3.0]", "[3.5]"), 0)
    assert [tensors(0), tensors(1)] == [Tensor("FP64", struct.pack("<d", 3)), Tensor("FP64", struct.pack("<d", 3.5))]


def test_strings_bytes_and_json_of_a_file_are_elements(tmp_path):
    assert open_tensors(of_file(tmp_path, "strings", '"hé"'), 0)(0) == Tensor("BYTES", "hé".encode())
    assert open_tensors(of_file(tmp_path, "bytes", '"AP8="'), 0)(0) == Tensor("BYTES", b"\x00\xff")
    assert open_tensors(of_file(tmp_path, "json", '{"a": [1]}'), 0)(0) == Tensor("BYTES", b'{"a":[1]}')


@pytest.mark.parametrize(("input_type", "line"), [("strings", "5"), ("bytes", '"%"'), ("bytes", "[1]")])
def test_what_is_no_element_is_refused_before_the_run(tmp_path, input_type, line):
    with pytest.raises(InvalidInput, match="An input"):
        open_tensors(of_file(tmp_path, input_type, line), 0)


@pytest.mark.parametrize(
    ("input_type", "line", "datatype", "shape", "binary"),
    [
        ("doubles", "[1, 2]", "FP64", [1, 2], struct.pack("<2d", 1, 2)),
        ("strings", '"abc"', "BYTES", [1], b"\x03\x00\x00\x00abc"),
    ],
)
def test_a_request_has_its_tensor_behind_the_json(tmp_path, input_type, line, datatype, shape, binary):
    request = http_dialect(TARGET, of_file(tmp_path, input_type, line), 0).request(0)
    head, _, body = request.partition(b"\r\n\r\n")
    first, *headers = head.decode().split("\r\n")
    lengths = {name.lower(): value for name, _, value in (header.partition(": ") for header in headers)}
    json_bytes = int(lengths["inference-header-content-length"])
    assert first == "POST /v2/models/app/infer HTTP/1.1"
    assert int(lengths["content-length"]) == len(body)
    (tensor,) = json.loads(body[:json_bytes])["inputs"]
    assert (tensor["datatype"], tensor["shape"]) == (datatype, shape)
    assert tensor["parameters"]["binary_data_size"] == len(binary)
    assert body[json_bytes:] == binary


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (200, {"parameters": {"query_id": "q", "default": False}, "outputs": []}, "answered"),
        (200, {"outputs": []}, "answered"),
        (200, {"parameters": {"default": True, "default_explanation": "overloaded: Full."}}, "default:overloaded"),
        (429, {"error": "Full.", "code": "overloaded"}, "error:overloaded"),
        (502, {"error": "A proxy's."}, "error:http_502"),
    ],
)
def test_an_answer_is_counted_by_what_its_parameters_say(status, body, outcome):
    dialect = http_dialect(TARGET, InputSource(input_type="doubles"), 0)
    assert dialect.outcome(status, msgspec.json.encode(body)) == outcome


def test_an_answer_that_is_no_json_is_unreadable():
    dialect = http_dialect(TARGET, InputSource(input_type="doubles"), 0)
    assert dialect.outcome(200, b"<html>") == "lost:unreadable_reply"
    assert dialect.outcome(503, b"<html>") == "error:http_503"


def test_tensors_come_from_a_file_and_go_as_json(tmp_path):
    file = tmp_path / "queries.jsonl"
    file.write_text('{"input": {"x": [[1, 2]], "flag": true}}\n')
    source = InputSource(input_type="tensors", file=str(file))
    assert json.loads(open_inputs(source, 1)(5)) == {"x": [[1, 2]], "flag": True}
    with pytest.raises(InvalidInput, match="--protocol rest or grpc"):
        open_tensors(source, 1)
    with pytest.raises(InvalidInput, match="give a file of inputs"):
        open_inputs(InputSource(input_type="tensors"), 1)
