"""moto with create-only puts that are atomic, as on Amazon.

moto by itself looks whether a name is free and then takes it. On a busy machine two writers may pass between the two
steps, and both are told that they were the first. The scripts that start moto begin with these lines.
"""

import threading

from moto.s3.responses import S3Response

one_at_a_time = threading.Lock()
plain_put_object = S3Response.put_object


def put_object(self):
    with one_at_a_time:
        return plain_put_object(self)


S3Response.put_object = put_object
