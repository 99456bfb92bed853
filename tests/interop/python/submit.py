"""Submits the bytes of one message by smtplib, as a JSON value on stdin says; prints what came of it."""

import base64
import json
import smtplib
import ssl
import sys

order = json.load(sys.stdin)


def context():
    # The relay's certificate is for 127.0.0.1, and this verifies it.
    trusting = ssl.create_default_context(cafile=order["authority"])
    return trusting


def connect():
    if order["tls"] == "implicit":
        return smtplib.SMTP_SSL("127.0.0.1", order["port"], "client.example", timeout=30, context=context())
    smtp = smtplib.SMTP("127.0.0.1", order["port"], "client.example", timeout=30)
    if order["tls"] == "starttls":
        smtp.starttls(context=context())
    return smtp


def main():
    smtp = connect()
    smtp.ehlo()
    offers = sorted(smtp.esmtp_features)
    if "user" in order:
        if "mechanism" in order:
            # login() takes the mechanisms in its own order; this leaves it one.
            smtp.esmtp_features["auth"] = order["mechanism"]
        smtp.login(order["user"], order["password"])
    refused = smtp.sendmail(
        order["sender"],
        order["recipients"],
        base64.b64decode(order["message"]),
        mail_options=order.get("mail_options", []),
        rcpt_options=order.get("rcpt_options", []),
    )
    smtp.quit()
    return {"offers": offers, "refused": {to: code for to, (code, _) in refused.items()}}


try:
    print(json.dumps(main()))
except smtplib.SMTPRecipientsRefused as error:
    codes = {to: code for to, (code, _) in error.recipients.items()}
    print(json.dumps({"error": "SMTPRecipientsRefused", "refused": codes}))
except smtplib.SMTPResponseException as error:
    print(json.dumps({"error": type(error).__name__, "code": error.smtp_code, "text": error.smtp_error.decode()}))
except smtplib.SMTPNotSupportedError as error:
    print(json.dumps({"error": "SMTPNotSupportedError", "text": str(error)}))
