"""What Triton's Python client sees of a server: one line for each check that fails.

python client.py HOST:PORT

The server must serve tensors_types, tensors_mixed, slow and float16 of
vision/infer/testdata.
"""
import sys
import threading

import ml_dtypes
import numpy as np
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

checks = failed = 0


def check(what, got, want):
    global checks, failed
    checks += 1
    same = np.array_equal(got, want) if isinstance(want, np.ndarray) else got == want
    if isinstance(want, np.ndarray) and same:
        same = got.dtype == want.dtype and got.shape == want.shape
    if not same:
        failed += 1
        print(f"{what}: got {got!r}, want {want!r}")


def refused(what, ask, code, text):
    try:
        ask()
    except InferenceServerException as e:
        check(what + ": code", e.status(), code)
        check(what + ": text", e.message() if text in e.message() else "…", e.message() if text in e.message() else f"{text} (said: {e.message()})")
        return
    check(what, "an answer", "refused")


def given(name, value, binary=True, kind=None):
    t = triton.InferInput(name, list(value.shape), kind or triton.np_to_triton_dtype(value.dtype))
    t.set_data_from_numpy(value, binary_data=binary)
    return t


NUMBERS = {"float32": np.float32, "float64": np.float64, "float16": np.float16,
           "bfloat16": ml_dtypes.bfloat16, "bool": np.bool_, "uint8": np.uint8,
           "uint16": np.uint16, "uint32": np.uint32, "uint64": np.uint64, "int8": np.int8, "int16": np.int16,
           "int32": np.int32, "int64": np.int64}


def values(kind, rows):
    rng = np.random.default_rng(rows + len(kind))
    if kind == "bool":
        return rng.integers(0, 2, (rows, 3)).astype(np.bool_)
    if "float" in kind:
        return rng.standard_normal((rows, 3)).astype(NUMBERS[kind])
    info = np.iinfo(NUMBERS[kind])
    return rng.integers(info.min, info.max, (rows, 3), dtype=NUMBERS[kind], endpoint=True)


def types(c):
    """Every type comes back bit for bit, of several sizes."""
    for rows in (1, 5, 5, 300, 0):
        arrays = {k: values(k, rows) for k in NUMBERS}
        r = c.infer("tensors_types", [given("in_" + k, a) for k, a in arrays.items()], request_id=f"rows-{rows}")
        check("id", r.get_response()["id"], f"rows-{rows}")
        check("model_name", r.get_response()["model_name"], "tensors_types")
        for k, a in arrays.items():
            check(f"{rows} rows of {k}", r.as_numpy("out_" + k), a)


def mixed(x, b=(0.5, 0.25), k=2, binary=True):
    return [given("x", np.asarray(x, np.float32), binary), given("b", np.asarray(b, np.float32), binary),
            given("k", np.asarray(k, np.int64), binary)]


def json_and_binary(c):
    """JSON and binary inputs and outputs in all pairs; an output of changing size; one without dimensions."""
    x = np.array([[1, 0, 0, 1], [0, 0, 2, 0]], np.float32)
    w = np.array([[1, 2], [3, 4], [5, 6], [7, 8]], np.float32)
    y = (x @ w + np.array([1, 0.5], np.float32)).astype(np.float32)
    for sent in (True, False):
        for got in (True, False):
            outputs = [triton.InferRequestedOutput(n, binary_data=got) for n in ("most", "places", "y")]
            r = c.infer("tensors_mixed", mixed(x, binary=sent), outputs=outputs)
            check("y", r.as_numpy("y"), y)
            check("most", r.as_numpy("most"), np.float32(y.max()).reshape(()))
            check("places", r.as_numpy("places"), np.array(np.nonzero(x), np.int64))
            check("order", [o["name"] for o in r.get_response()["outputs"]], ["most", "places", "y"])
    many = np.random.default_rng(5).integers(1, 100, (30_000, 4)).astype(np.float32)
    sums = (many @ w + np.array([1, 0.5], np.float32)).astype(np.float32)
    for binary_y, binary_places in ((False, False), (False, True), (True, False)):
        r = c.infer("tensors_mixed", mixed(many, binary=binary_y), outputs=[
            triton.InferRequestedOutput("y", binary_data=binary_y), triton.InferRequestedOutput("places", binary_data=binary_places)])
        check("many rows", r.as_numpy("y"), sums)
        check("many places", r.as_numpy("places"), np.array(np.nonzero(many), np.int64))
    only = c.infer("tensors_mixed", mixed(x), outputs=[triton.InferRequestedOutput("y")])
    check("one output", [o["name"] for o in only.get_response()["outputs"]], ["y"])
    for algorithm in ("gzip", "deflate"):
        r = c.infer("tensors_mixed", mixed(x), request_compression_algorithm=algorithm, response_compression_algorithm=algorithm)
        check(algorithm, r.as_numpy("y"), y)
    asked = [c.async_infer("tensors_mixed", mixed(x * n)) for n in range(8)]
    for n, a in enumerate(asked):
        check("async", a.get_result().as_numpy("y"), ((x * n) @ w + np.array([1, 0.5], np.float32)).astype(np.float32))


def descriptions(c):
    check("live", c.is_server_live(), True)
    check("ready", c.is_server_ready(), True)
    check("model ready", c.is_model_ready("tensors_mixed"), True)
    check("version ready", c.is_model_ready("tensors_mixed", "1"), True)
    check("no model ready", c.is_model_ready("nothing"), False)
    server = c.get_server_metadata()
    check("server", (server["name"], "binary_tensor_data" in server["extensions"]), ("sightline", True))
    m = c.get_model_metadata("tensors_mixed")
    check("inputs", m["inputs"], [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}, {"name": "b", "datatype": "FP32", "shape": [2]},
                                  {"name": "k", "datatype": "INT64", "shape": []}])
    check("outputs", m["outputs"][2], {"name": "places", "datatype": "INT64", "shape": [2, -1]})
    check("platform", (m["platform"], m["versions"], len(m["properties"]["digest"])), ("onnxruntime_onnx", ["1"], 64))
    config = c.get_model_config("tensors_mixed", "1")
    check("config", (config["name"], config["max_batch_size"], config["input"][0]), ("tensors_mixed", 0, {"name": "x", "data_type": "TYPE_FP32", "dims": [-1, 4]}))
    check("index", sorted((e["name"], e["state"]) for e in c.get_model_repository_index()),
          [("float16", "READY"), ("slow", "READY"), ("tensors_mixed", "READY"), ("tensors_types", "READY")])


def statistics(c):
    def count():
        s = c.get_inference_statistics("tensors_mixed")["model_stats"][0]
        i = s["inference_stats"]
        return s["inference_count"], i["success"]["count"], i["fail"]["count"], i["compute_infer"]["ns"]
    before = count()
    c.infer("tensors_mixed", mixed([[1, 2, 3, 4]]))
    try:
        c.infer("tensors_mixed", mixed([[1, 2, 3]]))
    except InferenceServerException:
        pass
    after = count()
    check("counts", [a - b for a, b in zip(after, before)][:3], [1, 1, 1])
    check("model time", after[3] > before[3], True)
    check("all models", len(c.get_inference_statistics()["model_stats"]), 4)


def errors(c):
    x = np.zeros((1, 4), np.float32)
    good = mixed(x)
    refused("unknown model", lambda: c.infer("nothing", good), "404", 'model "nothing" is unknown: there are float16, slow, tensors_mixed, tensors_types')
    refused("unknown version", lambda: c.infer("tensors_mixed", good, model_version="7"), "404", 'model tensors_mixed has no version "7": it has 1')
    refused("metadata of an unknown model", lambda: c.get_model_metadata("nothing"), "404", "is unknown")
    refused("input missing", lambda: c.infer("tensors_mixed", good[:2]), "400", "the input k is missing: [] of INT64")
    refused("input unknown", lambda: c.infer("tensors_mixed", good + [given("z", x)]), "400", 'has no input "z": it has x, b, k')
    refused("input twice", lambda: c.infer("tensors_mixed", good + good[:1]), "400", "the input x is there twice")
    refused("datatype", lambda: c.infer("tensors_mixed", [given("x", x.astype(np.float64))] + good[1:]), "400", "input x: its datatype is FP64, the model takes FP32")
    refused("shape", lambda: c.infer("tensors_mixed", mixed(np.zeros((1, 5)))), "400", "input x: its shape is [1,5], the model takes [-1,4]")
    refused("rank", lambda: c.infer("tensors_mixed", mixed(np.zeros((1, 1, 4)))), "400", "input x: its shape is [1,1,4], the model takes [-1,4]")
    refused("bytes", lambda: c.infer("tensors_mixed", [given("x", np.array([[b"a", b"b", b"c", b"d"]], np.object_), kind="BYTES")] + good[1:]),
            "400", "input x: its datatype is BYTES, the model takes FP32")
    refused("half as JSON", lambda: c.infer("tensors_types", [given("in_" + k, values(k, 1)) for k in NUMBERS], outputs=[
        triton.InferRequestedOutput("out_float16", binary_data=False)]), "400", "FP16 can't be sent as JSON: ask for binary data")
    refused("output unknown", lambda: c.infer("tensors_mixed", good, outputs=[triton.InferRequestedOutput("z")]), "400", 'has no output "z": it has y, most, places')
    refused("classes", lambda: c.infer("tensors_mixed", good, outputs=[triton.InferRequestedOutput("y", class_count=3)]), "400", "classification isn't supported")
    refused("sequence", lambda: c.infer("tensors_mixed", good, sequence_id=5, sequence_start=True), "400", "sequences aren't supported")
    refused("load", lambda: c.load_model("tensors_mixed"), "400", "models aren't loaded or unloaded by clients")
    refused("unload", lambda: c.unload_model("tensors_mixed"), "400", "models aren't loaded or unloaded by clients")
    refused("shared memory", lambda: c.register_system_shared_memory("m", "/m", 64), "400", "shared memory isn't supported")
    bright = np.ones((1, 3, 64, 64), np.float32)
    refused("time-out", lambda: c.infer("slow", [given("images", bright)], timeout=200_000), "504", "model slow can't answer within its timeout of 200000 µs")
    check("after the time-out", c.infer("slow", [given("images", bright * 0)], timeout=20_000_000).as_numpy("out").shape, (1, 7, 4, 4))


def raw(c):
    """A request that is the one input's data alone."""
    x = np.random.default_rng(7).standard_normal((1, 3, 64, 64)).astype(np.float16)
    r = c._post("v2/models/float16/infer", x.tobytes(), {"Inference-Header-Content-Length": "0"}, None)
    body = r.read()
    result = triton.InferenceServerClient.parse_response_body(body, header_length=int(r.get("Inference-Header-Content-Length")))
    whole = c.infer("float16", [given("images", x)]).as_numpy("out")
    check("raw", result.as_numpy("out"), whole)
    r = c._post("v2/models/float16/infer", x.tobytes()[:-2], {"Inference-Header-Content-Length": "0"}, None)
    check("raw, cut", (r.status_code, b"it has 24574 bytes, its shape [1,3,64,64] of FP16 wants 24576" in r.read()), (400, True))


def crowd(address):
    """Eight clients at once get their own answers."""
    wrong = []

    def one(seed):
        with triton.InferenceServerClient(address) as c:
            for n in range(40):
                x = np.full((1 + (seed + n) % 5, 4), seed * 100 + n, np.float32)
                r = c.infer("tensors_mixed", mixed(x, k=0), request_id=f"{seed}-{n}", priority=n % 4)
                if r.as_numpy("y")[-1, 0] != 16 * x[0, 0] or r.get_response()["id"] != f"{seed}-{n}":
                    wrong.append((seed, n))
    threads = [threading.Thread(target=one, args=(s,)) for s in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    check("answers of another client", wrong, [])


def main(address):
    with triton.InferenceServerClient(address, concurrency=8, network_timeout=120) as c:
        for part in (descriptions, types, json_and_binary, statistics, errors, raw):
            part(c)
    crowd(address)
    print(f"{checks} checks, {failed} failed")


main(sys.argv[1])
