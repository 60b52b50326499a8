"""Applications of Flask."""

from __future__ import annotations

from tests.applications.application import Application
from tests.applications.normalising import DATES, TIMES, UUIDS, Rule
from tests.applications.seeded import ask, get
from tests.applications.wire import Request

_TABLE = """{"TableName": "t", "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}], "BillingMode": "PAY_PER_REQUEST",
"AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}]}"""
_TIMED = (
    Rule("request ids of AWS", r"\b[A-Za-z0-9]{52}\b", "REQUEST"),
    Rule("checks and lengths of what holds them", r"(?i)(x-amz-crc32|content-length): \d+", r"\1: N"),
    Rule("seconds since 1970", r"\b\d{10}(\.\d+)?\b", "SECONDS"),
)

HTTPBIN = Application(
    name="httpbin",
    command="gunicorn --workers 2 --threads 2 --bind 127.0.0.1:{port} httpbin:app",
    script=[
        ask("POST", "/post", b"a=1&b=2", Content_Type="application/x-www-form-urlencoded"),
        ask("PUT", "/put", b'{"a": 1}', Content_Type="application/json"),
        ask("PATCH", "/patch", (b"chunk", b"ed" * 9000)),
        ask("DELETE", "/delete"),
        get("/cookies/set/flavour/oat"),
        get("/redirect/3"),
        get("/basic-auth/user/passwd", Authorization="Basic dXNlcjpwYXNzd2Q="),
        get("/basic-auth/user/passwd"),
        get("/drip?duration=0.3&numbytes=7&code=200&delay=0"),
        get("/bytes/2048?seed=7"),
        get("/bytes/2048?seed=7"),
        ask("TRACE", "/anything/traced"),
    ],
    reads=[
        get("/get?name=value&seed=1"),
        get("/headers"),
        get("/html"),
        get("/json", Accept="application/json"),
        get("/stream/20"),
        get("/range/4096"),
        get("/stream-bytes/5000?seed=3&chunk_size=500"),
        get("/status/418"),
        get("/status/503"),
        get("/image/png"),
        get("/gzip"),
        get("/cache", If_Modified_Since="Sat, 29 Oct 1994 19:43:31 GMT"),
        get("/etag/abc", If_None_Match='"abc"'),
        get("/delay/0"),
        get("/anything/a/b?c=d"),
        get("/links/4/1"),
        get("/encoding/utf8"),
        get("/static/favicon.ico"),
    ],
    routes=frozenset(
        {
            "/",
            "/post",
            "/put",
            "/patch",
            "/delete",
            "/cookies/set/<name>/<value>",
            "/redirect/<int:n>",
            "/basic-auth/<user>/<passwd>",
            "/drip",
            "/bytes/<int:n>",
            "/anything/<path:anything>",
            "/get",
            "/headers",
            "/html",
            "/json",
            "/stream/<int:n>",
            "/range/<int:numbytes>",
            "/stream-bytes/<int:n>",
            "/status/<codes>",
            "/image/png",
            "/gzip",
            "/cache",
            "/etag/<etag>",
            "/delay/<delay>",
            "/links/<int:n>/<int:offset>",
            "/encoding/utf8",
            "/static/<path:filename>",
        }
    ),
    rules=(
        DATES,
        UUIDS,
        Rule(
            "lengths of gzip files", r"Content-Length: \d+(\nContent-Encoding: gzip)", r"Content-Length: N\1"
        ),
    ),
)

_SIGNED = (
    "AWS4-HMAC-SHA256 Credential=AKIA/20260101/us-east-1/{}/aws4_request, SignedHeaders=host, Signature=0"
)


def _aws(service: str, target: str, body: str) -> Request:
    return ask(
        "POST",
        "/",
        body.encode(),
        X_Amz_Target=target,
        Authorization=_SIGNED.format(service),
        Content_Type="application/x-amz-json-1.0",
    )


def _s3(method: str, target: str, body: bytes = b"") -> Request:
    return ask(method, target, body, Authorization=_SIGNED.format("s3"))


MOTO = Application(
    name="moto",
    command="moto_server --host 127.0.0.1 --port {port}",
    script=[
        ask("POST", "/moto-api/seed?a=42"),
        _s3("PUT", "/bucket"),
        _s3("PUT", "/bucket/a/key.txt", b"some text " * 500),
        _s3("PUT", "/bucket/empty"),
        _aws("dynamodb", "DynamoDB_20120810.CreateTable", _TABLE),
        _aws(
            "dynamodb",
            "DynamoDB_20120810.PutItem",
            '{"TableName": "t", "Item": {"id": {"S": "1"}, "n": {"N": "7"}}}',
        ),
        _aws("sqs", "AmazonSQS.CreateQueue", '{"QueueName": "q"}'),
        _s3("PUT", "/bucket/big.bin", bytes(range(256)) * 4000),
        _s3("DELETE", "/bucket/empty"),
    ],
    reads=[
        _s3("GET", "/"),
        _s3("GET", "/bucket?list-type=2"),
        _s3("GET", "/bucket/a/key.txt"),
        _s3("GET", "/bucket/big.bin"),
        _s3("GET", "/bucket/none"),
        _s3("GET", "/nosuchbucket"),
        _aws("dynamodb", "DynamoDB_20120810.GetItem", '{"TableName": "t", "Key": {"id": {"S": "1"}}}'),
        _aws("dynamodb", "DynamoDB_20120810.Scan", '{"TableName": "none"}'),
        _aws("sqs", "AmazonSQS.ListQueues", "{}"),
        _aws("dynamodb", "DynamoDB_20120810.Nonsense", "{}"),
        get("/moto-api/data.json"),
        get("/moto-api/"),
    ],
    routes=frozenset(
        {
            "/",
            r'/<regex("[^/]+"):bucket_name_path>/<regex(".+"):key_name>',
            r'/<regex("[^/]+"):key_or_bucket_name>',
            "/moto-api/",
            "/moto-api/data.json",
            "/moto-api/seed",
        }
    ),
    rules=(DATES, TIMES, *_TIMED),
    # A POST of what is read is another operation, which would change something.
    without=frozenset({"upload", "chunks"}),
)
