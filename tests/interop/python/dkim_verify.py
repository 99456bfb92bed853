"""Verifies each signature of each message by dkimpy; prints a list of results for each message."""

import base64
import json
import sys

import dkim

order = json.load(sys.stdin)


def record(name, timeout=5):
    text = order["records"].get(name.decode().rstrip("."))
    return text and text.encode()


def verify(message):
    verifier = dkim.DKIM(message)
    count = sum(name.lower() == b"dkim-signature" for name, _ in verifier.headers)
    return [verifier.verify(idx=number, dnsfunc=record) for number in range(count)]


print(json.dumps([verify(base64.b64decode(message)) for message in order["messages"]]))
