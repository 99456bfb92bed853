"""Reads a message as the email module does, and prints its parts; of a delivery status, its fields."""

import base64
import email
import email.policy
import json
import sys

order = json.load(sys.stdin)
message = email.message_from_bytes(base64.b64decode(order["message"]), policy=email.policy.default)


def fields(block):
    return {name.lower(): str(value) for name, value in block.items()}


def part(of):
    told = {"type": of.get_content_type(), "defects": [type(defect).__name__ for defect in of.defects]}
    if told["type"] == "message/delivery-status":
        # A block for the message, and one for each recipient.
        told["blocks"] = [fields(block) for block in of.get_payload()]
    elif told["type"] == "message/rfc822":
        inner = of.get_payload(0)
        told["header"] = fields(inner)
        told["text"] = inner.get_payload()
    elif told["type"] == "text/rfc822-headers":
        told["header"] = fields(email.message_from_string(of.get_payload()))
    else:
        told["text"] = of.get_payload(decode=True).decode("utf-8", "backslashreplace")
    return told


defects = [type(defect).__name__ for defect in message.defects]
for name in list(message):
    defects.extend(type(defect).__name__ for defect in message[name].defects)
print(
    json.dumps(
        {
            "type": message.get_content_type(),
            "report_type": message.get_param("report-type"),
            "header": fields(message),
            "defects": defects,
            "parts": [part(of) for of in message.iter_parts()],
        }
    )
)
