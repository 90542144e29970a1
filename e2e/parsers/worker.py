"""Reads bodies from standard input and tells which parsers find a file in them.

One JSON object a line: {"kind": "multipart"|"zip"|"tar"|"json"|"compressed", "type": Content-Type,
"body": base64, "want": SHA-256}. One line comes back: {"found": [names of the
parsers that extracted content of exactly that digest]}.
"""
import asyncio
import base64
import bz2
import contextlib
import email
import email.policy
import gzip
import hashlib
import io
import json
import lzma
import sys
import tarfile
import warnings
import zipfile

warnings.simplefilter("ignore")
try:
    import cgi
except ImportError:  # gone in Python 3.13
    cgi = None

import aiohttp  # noqa: E402
import django.conf  # noqa: E402
import python_multipart  # noqa: E402
import tornado.httputil  # noqa: E402
import werkzeug.formparser  # noqa: E402
import werkzeug.http  # noqa: E402

django.conf.settings.configure(DEBUG=False, FILE_UPLOAD_HANDLERS=["django.core.files.uploadhandler.MemoryFileUploadHandler"], FILE_UPLOAD_MAX_MEMORY_SIZE=1 << 26)
from django.core.files.uploadhandler import MemoryFileUploadHandler  # noqa: E402
from django.http.multipartparser import MultiPartParser  # noqa: E402

import logging  # noqa: E402

logging.disable(logging.CRITICAL)


def by_email(policy):
    def parse(kind, body):
        message = email.message_from_bytes(b"MIME-Version: 1.0\r\nContent-Type: " + kind + b"\r\n\r\n" + body, policy=policy)
        for part in message.walk():
            if not part.is_multipart():
                yield part.get_payload(decode=True) or b""
    return parse


def by_cgi(kind, body):
    environ = {"REQUEST_METHOD": "POST", "CONTENT_TYPE": kind.decode("latin1"), "CONTENT_LENGTH": str(len(body))}
    todo = [cgi.FieldStorage(fp=io.BytesIO(body), environ=environ, keep_blank_values=True, encoding="latin1")]
    while todo:
        field = todo.pop()
        if field.list:
            todo.extend(field.list)
        elif field.file is not None:
            field.file.seek(0)
            data = field.file.read()
            yield data.encode("latin1") if isinstance(data, str) else data


def by_werkzeug(kind, body):
    mimetype, options = werkzeug.http.parse_options_header(kind.decode("latin1"))
    _, form, files = werkzeug.formparser.FormDataParser(silent=False).parse(io.BytesIO(body), mimetype, len(body), options)
    for values in form.listvalues():
        for v in values:
            yield v.encode("utf-8", "surrogateescape")
    for values in files.listvalues():
        for f in values:
            yield f.read()


def by_python_multipart(kind, body):
    found = []

    def on_file(f):
        f.file_object.seek(0)
        found.append(f.file_object.read())

    with contextlib.suppress(Exception):
        python_multipart.parse_form({"Content-Type": kind, "Content-Length": str(len(body)).encode()}, io.BytesIO(body), lambda f: found.append(f.value or b""), on_file)
    return found


def by_tornado(kind, body):
    arguments, files = {}, {}
    tornado.httputil.parse_body_arguments(kind.decode("latin1"), body, arguments, files)
    for values in arguments.values():
        yield from values
    for values in files.values():
        for f in values:
            yield f["body"]


def by_django(kind, body):
    meta = {"CONTENT_TYPE": kind.decode("latin1"), "CONTENT_LENGTH": str(len(body))}
    post, files = MultiPartParser(meta, io.BytesIO(body), [MemoryFileUploadHandler()], "latin1").parse()
    for values in [v for _, v in post.lists()]:
        for v in values:
            yield v.encode("latin1", "replace")
    for values in [v for _, v in files.lists()]:
        for f in values:
            yield f.read()


class _Protocol:
    _reading_paused = False

    def pause_reading(self):
        pass

    def resume_reading(self):
        pass


loop = asyncio.new_event_loop()


def by_aiohttp(kind, body):
    found = []

    async def read(reader):
        while True:
            part = await reader.next()
            if part is None:
                return
            if isinstance(part, aiohttp.MultipartReader):
                await read(part)
            else:
                raw = bytes(await part.read(decode=False))
                found.append(raw)
                with contextlib.suppress(Exception):
                    found.append(bytes(part.decode(raw)))

    async def go():
        stream = aiohttp.StreamReader(_Protocol(), 1 << 26, loop=asyncio.get_running_loop())
        stream.feed_data(body)
        stream.feed_eof()
        await read(aiohttp.MultipartReader({"Content-Type": kind.decode("latin1")}, stream))

    with contextlib.suppress(Exception):
        loop.run_until_complete(asyncio.wait_for(go(), 2))
    return found


def by_zipfile(_, body):
    archive = zipfile.ZipFile(io.BytesIO(body))
    for info in archive.infolist():
        data = b""
        with contextlib.suppress(Exception):
            with archive.open(info) as f:
                while chunk := f.read(4096):
                    data += chunk
                    if len(data) > 1 << 20:
                        break
        yield data


def by_tarfile(mode, ignore):
    def parse(_, body):
        with tarfile.open(fileobj=io.BytesIO(body), mode=mode, ignore_zeros=ignore) as archive:
            while (member := archive.next()) is not None:
                if member.size <= 1 << 20:
                    f = archive.extractfile(member)
                    if f is not None:
                        yield f.read()
    return parse


def by_json(_, body):
    todo = [json.loads(body)]
    while todo:
        value = todo.pop()
        if isinstance(value, dict):
            todo.extend(value.values())
            todo.extend(value.keys())
        elif isinstance(value, list):
            todo.extend(value)
        elif isinstance(value, str):
            text = value.partition(",")[2] if value.startswith("data:") else value
            for decode in (base64.b64decode, base64.urlsafe_b64decode, lambda s: base64.b64decode(s, validate=True)):
                with contextlib.suppress(Exception):
                    yield decode(text)
                with contextlib.suppress(Exception):
                    yield decode(text + "==")


def streaming(open_):
    def parse(_, body):
        data = b""
        with contextlib.suppress(Exception):
            with open_(io.BytesIO(body)) as f:
                while chunk := f.read(997):
                    data += chunk
                    if len(data) > 1 << 20:
                        break
        yield data
    return parse


PARSERS = {
    "multipart": {
        "email": by_email(email.policy.default), "email compat32": by_email(email.policy.compat32), "cgi": by_cgi, "werkzeug": by_werkzeug,
        "python-multipart": by_python_multipart, "tornado": by_tornado, "django": by_django, "aiohttp": by_aiohttp,
    },
    "zip": {"zipfile": by_zipfile},
    "tar": {"tarfile": by_tarfile("r:", False), "tarfile, all compressions": by_tarfile("r:*", False)},
    "json": {"json and base64": by_json},
    "compressed": {"gzip": streaming(gzip.GzipFile), "bz2": streaming(bz2.BZ2File), "lzma": streaming(lzma.LZMAFile)},
}
PARSERS["compressed"]["gzip"] = streaming(lambda f: gzip.GzipFile(fileobj=f))


if cgi is None:
    del PARSERS["multipart"]["cgi"]


def main():
    for line in sys.stdin:
        job = json.loads(line)
        body, kind = base64.b64decode(job["body"]), job["type"].encode("latin1", "replace")
        found = []
        for name, parse in PARSERS[job["kind"]].items():
            with contextlib.suppress(Exception, RecursionError):
                for content in parse(kind, body):
                    if hashlib.sha256(content).hexdigest() == job["want"]:
                        found.append(name)
                        break
        sys.stdout.write(json.dumps({"found": found}) + "\n")
        sys.stdout.flush()


main()
