"""Owns what is played on the stack for the browser to look at: templates that say and wait for what a test wants,
environments, deployments. Speaks to Conductor only over its HTTP API.
"""

import io
import json
import shutil
import tempfile
import urllib.request
import uuid
import zipfile
from contextlib import contextmanager
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from infra.local import emulator, stack as stacks

PATIENCE = 120  # seconds that anything may take
OPEN = ("Pending", "InProgress")

# Makes an object, for which it says the rows of a script; a row may wait for a file. The file that it may need decides
# whether it fails, before anything is made. Without the folder of the file it gives up.
ACTOR = """
variable "text" {
  type        = string
  default     = ""
  description = "What the object is to say"
}
variable "script" {
  type    = list(string)
  default = []
}
variable "needs" {
  type    = string
  default = ""
}
variable "complaint" {
  type    = string
  default = "It is not there yet."
}
resource "terraform_data" "this" {
  input = var.text
  lifecycle {
    precondition {
      condition     = var.needs == "" ? true : fileexists(var.needs)
      error_message = var.complaint
    }
  }
  provisioner "local-exec" {
    quiet       = true
    environment = { SCRIPT = join("\\n", var.script) }
    command     = <<-EOT
      printf '%s\\n' "$SCRIPT" | while IFS= read -r row; do
        case "$row" in
          "wait "*)
            file="$${row#wait }"
            until [ -e "$file" ]; do [ -d "$${file%/*}" ] || exit 1; sleep 0.1; done ;;
          "pause") sleep 0.05 ;;
          *) printf '%s\\n' "$row" ;;
        esac
      done
    EOT
  }
}
output "text" {
  value       = terraform_data.this.output
  description = "What the object says"
}
"""


def unique(prefix):
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


def pages(shop, failed):
    """A page of each kind, by its name."""
    return {
        "overview": "/", "deployments": "/deployments", "deployment": f"/deployments/{shop['first']}",
        "failed": f"/deployments/{failed['id']}", "retry": f"/deployments/{failed['id']}/retry",
        "teardown": f"/applications/{shop['orders']}/environments/{shop['environment']}/teardown",
        "resources": "/resources", "resource": f"/resources/{shop['bus']}", "environments": "/environments",
        "environment": f"/environments/{shop['environment']}", "templates": "/templates", "template": "/templates/note",
        "applications": "/applications", "application": f"/applications/{shop['orders']}", "audit": "/audit"}


class Play:
    def __init__(self, stack):
        self.stack, self.api = stack, stacks.api(stack)
        self.folder = Path(tempfile.mkdtemp(prefix="conductor-gates-"))
        self._actor = None

    def end(self):
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def actor(self):
        self._actor = self._actor or self.template(unique("actor"), ACTOR)
        return self._actor

    def gate(self):
        """A file that is not there yet: what waits for it goes on once it is touched."""
        return self.folder / unique("gate")

    def template(self, name, module, version="1.0.0"):
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as target:
            # The same module gives the same bytes: a version is compared by its content.
            target.writestr(zipfile.ZipInfo("main.tf", (1980, 1, 1, 0, 0, 0)), module)
        path = f"/v1/resource-templates/{name}/versions/{version}"
        with self.files_allowed():
            self.api.call("PUT", path, archive.getvalue(), "application/zip")
        return name

    @contextmanager
    def files_allowed(self):
        """Templates of tests look for files that a test touches; the policy is asked only when one is published."""
        before = self.api.get("/v1/template-policy")
        before.pop("updatedAt", None)
        self.api.put("/v1/template-policy", {**before, "rules": {**before["rules"], "files": "allow"}})
        try:
            yield
        finally:
            self.api.put("/v1/template-policy", before)

    def environment(self, **spec):
        name = unique("env")
        self.api.put(f"/v1/environments/{name}", spec)
        return name

    def acts(self, *script, after=(), **parameters):
        """A resource that says the rows of a script while it is made."""
        resource = {"type": self.actor, "params": {"script": [str(row) for row in script], **parameters}}
        return {**resource, "dependsOn": list(after)} if after else resource

    def register(self, environment, kind, **more):
        """A resource that Conductor did not make."""
        body = {"environment": environment, "type": kind, "existingResourceId": unique("arn"), "outputs": {"host": "h"}}
        return self.api.post("/v1/resources", body | more)["id"]

    def deploy(self, environment, resources, application=None, **more):
        body = {"application": application or unique("app"), "environment": environment,
                "score": {"resources": resources}, **more}
        return self.api.post("/v1/deployments", body)["id"]

    def run(self, environment, resources, application=None, expect="Succeeded", **more):
        ended = self.ended(self.deploy(environment, resources, application, **more))
        assert ended["status"] == expect, json.dumps(ended, indent=2)
        return ended

    def deployment(self, id):
        return self.api.get(f"/v1/deployments/{id}")

    def resource(self, id):
        return self.api.get(f"/v1/resources/{id}")

    def ended(self, id):
        def look():
            found.update(self.api.get(f"/v1/deployments/{id}?wait=10"))
            return found["status"] not in OPEN
        found = {}
        emulator.until(look, PATIENCE, f"the deployment {id} has ended")
        return found

    def until(self, id, **statuses):
        """The deployment, once each of these operations is in its status."""
        def look():
            found.update(self.deployment(id))
            there = {operation["resource"]: operation["status"] for operation in found["operations"]}
            return found["status"] not in OPEN or all(there.get(name) == status for name, status in statuses.items())
        found = {}
        emulator.until(look, PATIENCE, f"the operations of {id} are {statuses}")
        return found

    def log(self, id, query=""):
        """All lines of a log as JSON."""
        lines, cursor = [], ""
        while cursor is not None:
            page = self.api.get(f"/v1/deployments/{id}/logs?limit=1000&{query}&cursor={cursor}")
            lines, cursor = lines + page["items"], page["nextCursor"] if page["items"] else None
        return lines

    def text_log(self, id):
        request = urllib.request.Request(f"{self.api.url}/v1/deployments/{id}/logs", headers={"accept": "text/plain"})
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.read().decode()

    def said(self, id, text, times=1):
        """Waits until the log has so many lines with this text."""
        def look():
            return sum(text in line["message"] for line in self.log(id)) >= times
        emulator.until(look, PATIENCE, f"the log of {id} says {text!r} {times} times")

    # What several tests look at

    def shop(self):
        environment = self.environment(type="staging")
        shared = {**self.acts("hello from the bus"), "reference": {"mode": "shared", "name": "team-bus"}}
        orders, billing = unique("orders"), unique("billing")
        own = self.acts("hello from orders", text="${bus.text}")
        first = self.run(environment, {"bus": shared, "store": own}, orders, commitId="4f2a91c", metadata={"by": "ci"})
        second = self.run(environment, {"bus": shared}, billing)
        resources = {operation["resource"]: operation["resourceId"] for operation in first["operations"]}
        return {"environment": environment, "orders": orders, "billing": billing, "first": first["id"],
                "second": second["id"], "bus": resources["bus"], "store": resources["store"]}

    def failed(self):
        environment, gate, application = self.environment(), self.gate(), unique("flaky")
        resources = {"fine": self.acts("made"), "broken": self.acts(needs=str(gate)),
                     "never": self.acts(after=["broken"])}
        ended = self.run(environment, resources, application, expect="Failed")
        return {"environment": environment, "application": application, "id": ended["id"], "gate": gate}

    def large(self, count=200, layers=5, own=8):
        """Links to resources that Conductor did not make: each is claimed and decided, and none needs terraform."""
        environment, kind = self.environment(), unique("outside")
        with ThreadPoolExecutor(4) as pool:
            ids = list(pool.map(lambda _: self.register(environment, kind), range(layers * own)))
        wide = count // layers
        resources = {}
        for number in range(count):
            layer, place = divmod(number, wide)
            before = [f"link-{(layer - 1) * wide + other % wide:03}" for other in (place, place + 1)] if layer else []
            reference = {"mode": "existing", "id": ids[layer * own + place % own]}
            resources[f"link-{number:03}"] = {"type": kind, "reference": reference, "dependsOn": before}
        return self.deploy(environment, resources, unique("large"))
