"""Uploads a file with Python's clients: clients.py URL FILE."""
import asyncio
import sys

import aiohttp
import requests
import urllib3

url, path = sys.argv[1:]
data = open(path, "rb").read()


def check(status):
    if status != 200:
        sys.exit(f"status {status}")


check(requests.post(url + "/requests", files={"f": ("a.exe", data)}, data={"note": "hello"}).status_code)
check(requests.post(url + "/requests, a name that is not ASCII", files={"f": ("größe.exe", data, "application/octet-stream", {"X-A": "b"})}).status_code)
check(urllib3.PoolManager().request("POST", url + "/urllib3", fields={"note": "hello", "f": ("a.exe", data, "application/octet-stream")}).status)


async def main():
    async with aiohttp.ClientSession() as session:
        form = aiohttp.FormData()
        form.add_field("note", "hello")
        form.add_field("f", data, filename="a b.exe", content_type="application/octet-stream")
        async with session.post(url + "/aiohttp", data=form) as answer:
            check(answer.status)
        async with session.post(url + "/aiohttp, a file", data={"f": open(path, "rb"), "n": "1"}) as answer:
            check(answer.status)


asyncio.run(main())
