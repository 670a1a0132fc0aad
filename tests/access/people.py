"""Owns who calls: AWS users and a role of the emulator's account, service tokens with chosen roles. What it makes goes
with it.
"""

import json
import uuid

import boto3
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from client import Client, Signed, bearer

MAY_CALL = json.dumps({"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": "*"}]})


def unique(prefix):
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


class People:
    def __init__(self, stack):
        self.stack = stack
        self.iam = boto3.client("iam")
        self.keys, self.roles, self.tokens = {}, [], []

    def signed(self, credentials):
        return Client(self.stack["apiUrl"], Signed(credentials))

    def key(self, name):
        """The access key of a user who may call every API; one that an earlier run left is replaced."""
        if name not in self.keys:
            try:
                self.iam.create_user(UserName=name)
            except self.iam.exceptions.EntityAlreadyExistsException:
                for left in self.iam.list_access_keys(UserName=name)["AccessKeyMetadata"]:
                    self.iam.delete_access_key(UserName=name, AccessKeyId=left["AccessKeyId"])
            self.iam.put_user_policy(UserName=name, PolicyName="call", PolicyDocument=MAY_CALL)
            made = self.iam.create_access_key(UserName=name)["AccessKey"]
            self.keys[name] = Credentials(made["AccessKeyId"], made["SecretAccessKey"])
        return self.keys[name]

    def user(self, name):
        return self.signed(self.key(name))

    def admin(self, organisation):
        """An administrator of an organisation, who signs."""
        return self.user(f"access-{organisation}")

    def session(self, role, path):
        """Who has taken a role that may call every API."""
        account = boto3.client("sts").get_caller_identity()["Account"]
        trust = {"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{account}:root"}, "Action": "sts:AssumeRole"}]}
        try:
            self.iam.create_role(RoleName=role, Path=path, AssumeRolePolicyDocument=json.dumps(trust))
        except self.iam.exceptions.EntityAlreadyExistsException:
            pass
        self.roles.append(role)
        self.iam.put_role_policy(RoleName=role, PolicyName="call", PolicyDocument=MAY_CALL)
        arn = self.iam.get_role(RoleName=role)["Role"]["Arn"]
        taken = boto3.client("sts").assume_role(RoleArn=arn, RoleSessionName="a-test")["Credentials"]
        return self.signed(Credentials(taken["AccessKeyId"], taken["SecretAccessKey"], taken["SessionToken"]))

    def token(self, organisation, *roles, **more):
        """A new service token, as it is answered, with its secret."""
        body = {"name": unique("test"), "roles": list(roles), **more}
        made = self.admin(organisation).post("/v1/tokens", body)
        self.tokens.append((organisation, made["id"]))
        return made

    def shows(self, secret, **headers):
        """Who shows this text."""
        return bearer(self.stack["bearerApiUrl"], secret, **headers)

    def somebody(self, organisation, *roles):
        """Who has exactly these roles."""
        return self.shows(self.token(organisation, *roles)["token"])

    def nobody(self, **headers):
        return Client(self.stack["bearerApiUrl"], headers=headers)

    def revoke(self, first=0):
        """Ends the tokens that were made since there were so many."""
        while len(self.tokens) > first:
            organisation, id = self.tokens.pop()
            self.admin(organisation).ask("DELETE", f"/v1/tokens/{id}")

    def end(self):
        self.revoke()
        for name in self.keys:
            for key in self.iam.list_access_keys(UserName=name)["AccessKeyMetadata"]:
                self.iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
            self.forget(self.iam.delete_user_policy, UserName=name, PolicyName="call")
            self.forget(self.iam.delete_user, UserName=name)
        for role in self.roles:
            self.forget(self.iam.delete_role_policy, RoleName=role, PolicyName="call")
            self.forget(self.iam.delete_role, RoleName=role)

    @staticmethod
    def forget(call, **arguments):
        try:
            call(**arguments)
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchEntity":
                raise
