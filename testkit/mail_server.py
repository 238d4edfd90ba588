"""A mail server (aiosmtpd) for the tests of notifications.

  mail_server.py FOLDER MODE USER PASSWORD

MODE is "tls" (encrypted from the first byte), "starttls" or "plain". It takes mail only after a login as USER, prints its
port, and puts each mail into FOLDER as N.eml, N from 1. Its certificate is FOLDER/certificate.pem. It ends with its
standard input.
"""

import asyncio
import datetime
import ipaddress
import ssl
import sys
from pathlib import Path

from aiosmtpd.smtp import SMTP, AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


def context(folder):
    """Returns the TLS context of a new certificate for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mail of the tests")])
    now = datetime.datetime.now(datetime.timezone.utc)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "certificate.pem"
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    secret = folder / "key.pem"
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(pem, secret)
    return made


class Mailbox:
    """Puts each mail into a folder."""

    def __init__(self, folder):
        self.folder = folder
        self.count = 0

    async def handle_DATA(self, server, session, envelope):
        self.count += 1
        names = f"X-From: {envelope.mail_from}\r\nX-To: {','.join(envelope.rcpt_tos)}\r\n".encode()
        part = self.folder / f"{self.count}.part"
        part.write_bytes(names + envelope.content)
        part.rename(self.folder / f"{self.count}.eml")
        return "250 OK"


async def main():
    folder, mode, user, password = Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
    tls = context(folder)

    def login(server, session, envelope, mechanism, data):
        right = (data.login, data.password) == (user.encode(), password.encode())
        return AuthResult(success=right, handled=right)

    def protocol():
        return SMTP(
            Mailbox.shared,
            hostname="mail.example",
            authenticator=login,
            auth_required=True,
            # aiosmtpd sees no TLS of a connection that is encrypted from the first byte.
            auth_require_tls=mode == "starttls",
            tls_context=tls if mode == "starttls" else None,
            require_starttls=mode == "starttls",
        )

    Mailbox.shared = Mailbox(folder)
    server = await asyncio.get_running_loop().create_server(
        protocol, "127.0.0.1", 0, ssl=tls if mode == "tls" else None
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


asyncio.run(main())
