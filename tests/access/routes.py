"""Owns the table that the tests hold against the stack: which right each route asks for, who has it, and a request that
does as little as it can.
"""

from datetime import datetime, timedelta, timezone

from world import archive

# Who has a right; a role with an environment has it there alone, but for seeing.
RIGHTS = {
    "view": {"viewer", "deployer", "platform", "secretReader", "admin"},
    "deploy": {"deployer", "admin"},
    "readSecrets": {"secretReader", "admin"},
    "managePlatform": {"platform", "admin"},
    "administer": {"admin"},
}

# Whoever goes through it from the top finds each thing still there.
ROUTES = [
    ("public", "GET", "/health"),
    ("view", "GET", "/ready"),
    ("view", "GET", "/v1/principal"),
    ("view", "GET", "/v1/environments"),
    ("view", "GET", "/v1/environments/{environment}"),
    ("view", "GET", "/v1/environments/{environment}/graph"),
    ("view", "GET", "/v1/environments/{environment}/pools"),
    ("view", "GET", "/v1/environments/{environment}/pools/{pool}"),
    ("view", "GET", "/v1/applications"),
    ("view", "GET", "/v1/applications/{application}"),
    ("view", "GET", "/v1/resource-templates"),
    ("view", "GET", "/v1/resource-templates/{type}/versions"),
    ("view", "GET", "/v1/resource-templates/{type}/versions/{version}"),
    ("view", "GET", "/v1/template-policy"),
    ("view", "GET", "/v1/deployments"),
    ("view", "GET", "/v1/deployments/{id}"),
    ("view", "GET", "/v1/deployments/{id}/logs"),
    ("view", "GET", "/v1/deployments/{id}/workload"),
    ("view", "GET", "/v1/resources"),
    ("view", "GET", "/v1/resources/{id}"),
    ("view", "GET", "/v1/resources/{id}/impact"),
    ("view", "GET", "/v1/audit-events"),
    # What it is asked for here is sensitive; another output is seen.
    ("readSecrets", "GET", "/v1/resources/{id}/outputs/{name}"),
    ("administer", "GET", "/v1/tokens"),
    ("administer", "GET", "/v1/tokens/{id}"),
    ("administer", "POST", "/v1/tokens"),
    ("managePlatform", "PUT", "/v1/environments/{environment}"),
    ("managePlatform", "PUT", "/v1/environments/{environment}/pools/{pool}"),
    ("managePlatform", "PUT", "/v1/applications/{application}"),
    ("managePlatform", "PUT", "/v1/resource-templates/{type}/versions/{version}"),
    ("managePlatform", "PATCH", "/v1/resource-templates/{type}/versions/{version}"),
    ("managePlatform", "PUT", "/v1/template-policy"),
    ("managePlatform", "POST", "/v1/resources"),
    ("managePlatform", "PATCH", "/v1/resources/{id}"),
    ("deploy", "POST", "/v1/deployments"),
    ("deploy", "POST", "/v1/deployments/{id}/retry"),
    ("deploy", "POST", "/v1/deployments/{id}/cancel"),
    ("deploy", "POST", "/v1/resources/{id}/consumers"),
    ("deploy", "DELETE", "/v1/resources/{id}/consumers/{consumer}"),
    ("deploy", "DELETE", "/v1/resources/{id}"),
    ("deploy", "DELETE", "/v1/applications/{application}/environments/{environment}"),
    ("administer", "DELETE", "/v1/tokens/{id}"),
    ("administer", "DELETE", "/v1/sessions"),
    ("managePlatform", "DELETE", "/v1/environments/{environment}/pools/{pool}"),
    ("managePlatform", "DELETE", "/v1/applications/{application}"),
    ("managePlatform", "DELETE", "/v1/environments/{environment}"),
]

PAGES = [
    ("view", "GET", "/"),
    ("view", "GET", "/deployments"),
    ("view", "GET", "/deployments/{id}"),
    ("view", "GET", "/deployments/{id}/log"),
    ("view", "GET", "/deployments/{id}/file"),
    ("view", "GET", "/deployments/{id}/cancel"),
    ("view", "GET", "/deployments/{id}/retry"),
    ("view", "GET", "/resources"),
    ("view", "GET", "/resources/{id}"),
    ("view", "GET", "/environments"),
    ("view", "GET", "/environments/{environment}"),
    ("view", "GET", "/environments/{environment}/pools/{pool}"),
    ("view", "GET", "/templates"),
    ("view", "GET", "/templates/{name}"),
    ("view", "GET", "/applications"),
    ("view", "GET", "/applications/{application}"),
    ("view", "GET", "/audit"),
    # It tells what would happen: a dry run.
    ("deploy", "GET", "/applications/{application}/environments/{environment}/teardown"),
    ("deploy", "POST", "/deployments/{id}/retry"),
    ("deploy", "POST", "/deployments/{id}/cancel"),
    ("deploy", "POST", "/applications/{application}/environments/{environment}/teardown"),
]

# What of an answer is held against openapi.json.
CHECKS = ("not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
          "response_schema_conformance")

DEFAULT_POLICY = {
    "rules": {"localExec": "deny", "remoteExec": "deny", "externalData": "deny", "httpData": "warn",
              "moduleSources": "deny", "files": "deny", "providers": "warn"},
    "providers": [], "moduleSources": []}


def may(role, right, environment):
    """Whether a role, as `deployer` or `deployer:staging`, gives a right in an environment."""
    kind, _, only_in = role.partition(":")
    holds = not only_in or right == "view" or only_in == environment
    return right == "public" or (holds and kind in RIGHTS[right])


def request(method, route, names):
    """What goes with a route's path, as the keywords of `Client.ask`."""
    soon = datetime.now(timezone.utc) + timedelta(minutes=10)
    environment = {"environment": names["environment"]}
    consumer = {**environment, "application": names["application"]}
    link = {"type": names["outside"], "reference": {"mode": "existing", "id": names["resources"]}}
    bodies = {
        ("POST", "/v1/tokens"): {"name": "walk", "roles": ["viewer"], "expiresAt": soon.isoformat()},
        ("PUT", "/v1/environments/{environment}"): {},
        ("PUT", "/v1/environments/{environment}/pools/{pool}"): {"type": names["type"], "size": 0},
        ("PATCH", "/v1/resource-templates/{type}/versions/{version}"): {"state": "Active"},
        ("PUT", "/v1/template-policy"): DEFAULT_POLICY,
        ("POST", "/v1/resources"): {**environment, "type": "walk", "existingResourceId": names["pool"], "outputs": {}},
        ("PATCH", "/v1/resources/{id}"): {"published": False},
        ("POST", "/v1/deployments"): {**consumer, "score": {"resources": {"link": link}}},
        ("POST", "/v1/resources/{id}/consumers"): consumer,
    }
    if (method, route) == ("PUT", "/v1/resource-templates/{type}/versions/{version}"):
        return {"body": archive(), "headers": {"content-type": "application/zip"}}
    if (method, route) == ("DELETE", "/v1/sessions"):
        return {"query": {"principal": "nobody"}}
    if method == "POST" and not route.startswith("/v1/"):
        return {"body": b"", "headers": {"content-type": "application/x-www-form-urlencoded"}}
    body = bodies.get((method, route))
    return {} if body is None else {"body": body}
