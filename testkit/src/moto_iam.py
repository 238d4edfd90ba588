"""Does to a moto server what a test asks for: commands in as JSON, one answer out as JSON.

It runs in the Python that moto itself runs in, which has boto3 and botocore. Requests are signed
here and not by icecore's own client: a policy has to hold against whatever a thief would send.
"""

import json
import re
import sys
import urllib.parse
import urllib.request

import boto3
import urllib3
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials


def client(command, service):
    keys = command.get("user") or {"access_key": "testing", "secret_key": "testing"}
    return boto3.client(
        service,
        endpoint_url=command["endpoint"],
        region_name="us-east-1",
        aws_access_key_id=keys["access_key"],
        aws_secret_access_key=keys["secret_key"],
    )


def users(command):
    """Makes a user for each policy."""
    iam = client(command, "iam")
    made = []
    for name, policy in command["users"]:
        iam.create_user(UserName=name)
        # A managed policy: moto checks its document as strictly as it can.
        arn = iam.create_policy(PolicyName=name, PolicyDocument=policy)["Policy"]["Arn"]
        iam.attach_user_policy(UserName=name, PolicyArn=arn)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        made.append({"access_key": key["AccessKeyId"], "secret_key": key["SecretAccessKey"]})
    return made


def enforce(command):
    """From now on, no request passes without a user who may make it."""
    url = command["endpoint"] + "/moto-api/reset-auth"
    # Not the type of a form, which urllib would say and moto would parse.
    headers = {"Content-Type": "text/plain"}
    urllib.request.urlopen(urllib.request.Request(url, b"0", headers)).read()
    return {}


def send(command):
    """Sends requests; their statuses, and the S3 error codes in their answers."""
    keys = Credentials(command["user"]["access_key"], command["user"]["secret_key"])
    pool = urllib3.PoolManager(retries=False)
    answers = []
    for method, path, query, headers, body in command["requests"]:
        url = command["endpoint"] + urllib.parse.quote(path) + ("?" + query if query else "")
        request = AWSRequest(method=method, url=url, data=body.encode(), headers=dict(headers))
        S3SigV4Auth(keys, "s3", "us-east-1").add_auth(request)
        answer = pool.request(method, url, body=body.encode(), headers=dict(request.headers))
        code = re.search(rb"<Code>(\w+)</Code>", answer.data)
        answers.append([answer.status, code.group(1).decode() if code else ""])
    return answers


def settings(command):
    """Sets a bucket policy and a lifecycle as the AWS tools would, and reads them back."""
    s3 = client(command, "s3")
    bucket = command["bucket"]
    s3.put_bucket_policy(Bucket=bucket, Policy=command["policy"])
    lifecycle = json.loads(command["lifecycle"])
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration=lifecycle)
    return {
        "policy": s3.get_bucket_policy(Bucket=bucket)["Policy"],
        "rules": s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"],
    }


COMMANDS = {"users": users, "enforce": enforce, "send": send, "settings": settings}
given = json.load(sys.stdin)
json.dump(COMMANDS[given["do"]](given), sys.stdout)
