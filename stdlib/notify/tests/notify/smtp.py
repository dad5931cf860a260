"""A mail server that records: python3 smtp.py [CERT KEY]. The first line it prints is its port, each further one a mail.

With a certificate it asks for STARTTLS and for a password. What it does with a mail is the first part of the
recipient's address: busy (451), never (550), lost (takes it and hangs up) or anything (takes it)."""

import asyncio
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult


class Handler:
    async def handle_DATA(self, server, session, envelope):
        what = envelope.rcpt_tos[0].split("@")[0]
        if what == "busy":
            return "451 later"
        if what == "never":
            return "550 no such person"
        mail = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "data": envelope.content.decode(),
            "tls": session.ssl is not None,
        }
        print(json.dumps(mail), flush=True)
        if what == "lost":
            server.transport.abort()
        return "250 taken"


def knows(server, session, envelope, mechanism, data):
    # `handled=False`: nothing was answered yet.
    return AuthResult(success=data.login == b"ada" and data.password == b"p@ss:/", handled=False)


async def main():
    options = {}
    if len(sys.argv) > 1:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[1], sys.argv[2])
        options = dict(tls_context=context, require_starttls=True, authenticator=knows, auth_required=True)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(Handler(), hostname="localhost", **options), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    # It ends with the test: nothing is ever written to its input.
    await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(main())
