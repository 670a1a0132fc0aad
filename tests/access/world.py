"""Owns what one organisation has: an environment with one of everything in it. Nothing of it runs terraform: what would,
waits for a worker, and there is none.
"""

import io
import uuid
import zipfile

from infra.local import emulator

PATIENCE = 120  # seconds that a deployment may take
OPEN = ("Pending", "InProgress")
VERSION = "1.0.0"

MODULE = """
variable "text" {
  type    = string
  default = ""
}
resource "terraform_data" "this" {
  input = var.text
}
output "text" {
  value = terraform_data.this.output
}
output "secret" {
  value     = "${terraform_data.this.output}-secret"
  sensitive = true
}
"""


def archive(module=MODULE):
    """The same module gives the same bytes: a version is compared by its content."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as target:
        target.writestr(zipfile.ZipInfo("main.tf", (1980, 1, 1, 0, 0, 0)), module)
    return packed.getvalue()


class World:
    def __init__(self, api):
        self.api = api
        # In every name, so that it can be looked for in what others are shown.
        self.mark = uuid.uuid4().hex[:12]
        self.environment, self.application, self.pool, self.type = map(self.named, ("env", "app", "pool", "type"))
        api.put(f"/v1/environments/{self.environment}", {})
        self.publish(self.type)
        self.parked = self.named("parked")
        self.publish(self.parked)
        api.done("PATCH", f"/v1/resource-templates/{self.parked}/versions/{VERSION}", {"executor": "worker"})
        api.done("PUT", f"/v1/applications/{self.application}")
        self.resource = api.post("/v1/resources", self.outside())["id"]
        consumer = {"environment": self.environment, "application": self.application}
        self.consumer = api.post(f"/v1/resources/{self.resource}/consumers", consumer)["id"]
        api.put(f"/v1/environments/{self.environment}/pools/{self.pool}", self.pool_spec())
        self.token = api.post("/v1/tokens", {"name": self.named("token"), "roles": ["viewer"]})["id"]
        self.done = self.run({"link": {"type": self.named("outside"), "reference": self.existing(self.resource)}})["id"]
        self.open = self.deploy({"parked": {"type": self.parked}}, self.named("open"))
        self.cancelled = self.deploy({"parked": {"type": self.parked}}, self.named("stopped"))
        api.post(f"/v1/deployments/{self.cancelled}/cancel", {})
        assert self.ended(self.cancelled)["status"] == "Cancelled"

    def named(self, what):
        return f"{what}-{self.mark}"

    def publish(self, type):
        path = f"/v1/resource-templates/{type}/versions/{VERSION}"
        self.api.done("PUT", path, archive(), {"content-type": "application/zip"})

    def outside(self):
        """What is said of a resource that Conductor did not make."""
        return {"environment": self.environment, "type": self.named("outside"), "existingResourceId": self.named("arn"),
                "outputs": {"host": self.named("host"), "password": {"value": self.named("pass"), "sensitive": True}}}

    def pool_spec(self):
        return {"type": self.type, "size": 0}

    @staticmethod
    def existing(id):
        return {"mode": "existing", "id": id}

    def request(self, resources, application=None, environment=None):
        return {"environment": environment or self.environment, "application": application or self.application,
                "score": {"resources": resources}}

    def deploy(self, resources, application=None):
        return self.api.post("/v1/deployments", self.request(resources, application))["id"]

    def ended(self, id):
        found = {}

        def look():
            found.update(self.api.get(f"/v1/deployments/{id}", wait=10))
            return found["status"] not in OPEN

        emulator.until(look, PATIENCE, f"the deployment {id} has ended")
        return found

    def run(self, resources, application=None):
        ended = self.ended(self.deploy(resources, application))
        assert ended["status"] == "Succeeded", ended
        return ended

    def rest(self):
        """Nothing of it goes on by itself any more."""
        for status in OPEN:
            for deployment in self.api.every("/v1/deployments", environment=self.environment, status=status):
                self.api.ask("POST", f"/v1/deployments/{deployment['id']}/cancel")
                self.ended(deployment["id"])

    def end(self):
        self.rest()
        self.api.ask("DELETE", f"/v1/tokens/{self.token}")

    def names(self):
        """What stands in paths, by the name that it has in a route; ids by what they are of."""
        return {"environment": self.environment, "application": self.application, "pool": self.pool, "type": self.type,
                "outside": self.named("outside"), "version": VERSION, "consumer": self.consumer, "output": "password",
                "deployments": self.done, "open": self.open, "cancelled": self.cancelled, "resources": self.resource,
                "tokens": self.token}


def unknown():
    """The same of what is nowhere."""
    mark = uuid.uuid4().hex[:12]
    return {**{name: f"{name}-{mark}" for name in ("environment", "application", "pool", "type", "outside")},
            "version": VERSION,
            "consumer": uuid.uuid4().hex[:24], "output": "password",
            **{name: str(uuid.uuid4()) for name in ("deployments", "open", "cancelled", "resources", "tokens")}}


def path(route, names):
    """A route at what these names name."""
    noun = route.removeprefix("/v1").split("/")[1]
    of = {"cancel": "open", "retry": "cancelled"}.get(route.rsplit("/", 1)[1], noun)
    name = names["type"] if noun == "templates" else names["output"]
    return route.format(**names, id=names.get(of), name=name)
