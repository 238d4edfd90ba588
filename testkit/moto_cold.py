"""moto with a truthful state of its archived objects, for tests with real seconds.

moto by itself forgets the tier of a RestoreObject request, ends no readable copy and never answers
that a request is already in progress. Here an archived object is cold, then thawing for as long as
its tier takes, then readable until its expiry, then cold again. A day can be made short, and the
expiry is rounded up to the end of such a day as Amazon rounds it up to midnight UTC.

Usage: python -c SCRIPT STANDARD BULK DAY [arguments of moto_server], the three in seconds.
"""

import datetime
import math
import sys
import threading
import time
from xml.sax.saxutils import escape

import xmltodict
from moto.s3.models import FakeKey, S3Backend
from moto.s3.responses import S3Response
from moto.server import main

STANDARD, BULK, DAY = (float(seconds) for seconds in sys.argv[1:4])
# What a tier takes. Amazon's Expedited is a sixtieth of Standard: minutes in place of hours.
TIERS = {
    "GLACIER": {"Expedited": STANDARD / 60, "Standard": STANDARD, "Bulk": BULK},
    "DEEP_ARCHIVE": {"Standard": STANDARD, "Bulk": BULK},
}

# Requests run on threads of their own: two of them must not both begin a thaw.
lock = threading.Lock()
# The tier asked for, from the request's body on its way to the backend, which is not given it.
asked = threading.local()


class Refused(Exception):
    """An answer that moto has no exception with the right status for."""

    def __init__(self, status, code, message):
        super().__init__(message)
        self.status, self.code, self.message = status, code, message

    def response(self):
        xml = (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f"<Error><Code>{self.code}</Code><Message>{escape(self.message)}</Message></Error>"
        )
        return self.status, {"content-type": "application/xml"}, xml


class Thaw:
    """A request that was accepted."""

    def __init__(self, takes, days):
        self.takes, self.days = takes, days
        self.ready = time.time() + takes
        self.keep_from(self.ready, days)

    def keep_from(self, begin, days):
        self.days = days
        self.expiry = math.ceil(begin / DAY + days) * DAY

    def hasten(self, takes):
        self.takes = takes
        self.ready = min(self.ready, time.time() + takes)
        self.keep_from(self.ready, self.days)

    def is_ready(self):
        return time.time() >= self.ready

    def header(self):
        if not self.is_ready():
            return 'ongoing-request="true"'
        expiry = datetime.datetime.fromtimestamp(self.expiry, datetime.timezone.utc)
        date = expiry.strftime("%a, %d %b %Y %H:%M:%S GMT")
        return f'ongoing-request="false", expiry-date="{date}"'


def thaw_of(key):
    """The thaw of an object that is under way, or whose copy can still be read."""
    thaw = getattr(key, "icecore_thaw", None)
    if thaw is not None and time.time() < thaw.expiry:
        return thaw
    return None


# moto decides from this header whether an object can be read, so nothing else need be changed.
plain_headers = FakeKey.response_dict.fget


def headers(self):
    found = plain_headers(self)
    thaw = thaw_of(self)
    if thaw is not None:
        found["x-amz-restore"] = thaw.header()
    return found


plain_restore_object = S3Backend.restore_object


def begin_thaw(self, bucket_name, key_name, days, type_):
    """Begins a thaw or changes the one there is; whether there was a readable copy already."""
    # Without days it only looks whether the object is there, and archived.
    plain_restore_object(self, bucket_name, key_name, None, type_)
    key = self.get_object(bucket_name, key_name)
    if days is None:
        raise Refused(400, "MalformedXML", "The XML you provided was not well-formed")
    days = int(days)
    if days < 1:
        raise Refused(400, "InvalidArgument", "restoration days should be at least 1")
    takes = TIERS[key.storage_class].get(asked.tier)
    if takes is None:
        message = "Retrieval option is not supported by this storage class"
        raise Refused(400, "InvalidRequest", message)
    with lock:
        thaw = thaw_of(key)
        if thaw is None:
            key.icecore_thaw = Thaw(takes, days)
        elif thaw.is_ready():
            thaw.keep_from(time.time(), days)
            return True
        elif takes < thaw.takes:
            thaw.hasten(takes)
        else:
            message = "Object restore is already in progress"
            raise Refused(409, "RestoreAlreadyInProgress", message)
    return False


plain_post = S3Response._key_response_post


def post(self, *args, **kwargs):
    if "restore" not in self.querystring:
        return plain_post(self, *args, **kwargs)
    wanted = xmltodict.parse(self.body)["RestoreRequest"] or {}
    asked.tier = (wanted.get("GlacierJobParameters") or {}).get("Tier", "Standard")
    try:
        return plain_post(self, *args, **kwargs)
    except Refused as refused:
        return refused.response()


FakeKey.response_dict = property(headers)
S3Backend.restore_object = begin_thaw
S3Response._key_response_post = post

main(sys.argv[4:])
