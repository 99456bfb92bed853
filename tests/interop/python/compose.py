"""Has the email module build a message and smtplib's send_message choose how to send it (SMTPUTF8, 8BITMIME)."""

import json
import smtplib
import sys
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8

order = json.load(sys.stdin)
message = EmailMessage(policy=SMTPUTF8 if order["utf8"] else SMTP)
message["From"] = order["from"]
message["To"] = order["to"]
message["Subject"] = order["subject"]
message.set_content(order["text"], cte="8bit")
with smtplib.SMTP("127.0.0.1", order["port"], "client.example", timeout=30) as smtp:
    # It looks at the addresses and asks for SMTPUTF8 and BODY=8BITMIME by itself.
    refused = smtp.send_message(message, mail_options=order["mail_options"])
print(json.dumps({"refused": list(refused)}))
