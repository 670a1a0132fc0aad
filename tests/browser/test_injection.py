"""Whatever a user can say is shown as text: in no page it becomes an element, an attribute or a script."""

import urllib.request
from urllib.parse import quote

import pytest

from play import unique

TAG = "\"'><img src=x onerror=window.hit=1>"
HOSTILE = f"{TAG}</title></script><script>window.hit=1</script><a href=\"javascript:window.hit=1\">x</a>"
MODULE = """
terraform {
  required_version = ">= 1.0%s"
  required_providers {
    odd = { source = "%s", version = "1.0" }
  }
}
variable "named" {
  type        = object({ "%s" = string })
  description = "%s"
}
output "said" {
  value       = 1
  description = "%s"
}
"""

# What would be there if a text had become more than that; the pages themselves have none of it.
PLANTED = """
return [...document.querySelectorAll("img, iframe, object, embed, base, style, script:not([src]), a[href*='javascript:' i], [style]"),
  ...[...document.querySelectorAll("*")].filter((one) => [...one.attributes].some(({ name }) => name.startsWith("on")))]
  .map((one) => one.outerHTML.slice(0, 200))"""
# All that is shown or said: texts, titles, what fields have in them.
SHOWN = """
const attributes = [...document.querySelectorAll("[title], [aria-label], input")].flatMap((one) =>
  [one.title, one.getAttribute("aria-label"), one.value]);
return [document.title, document.body.textContent, ...attributes].join("\\n")"""


def hostile(field):
    """What one field says, so that it can be told from others."""
    return f"{field}{HOSTILE}"


def harmless(dashboard, *fields):
    """Nothing of the page is more than text, and each of these fields is shown as it was said."""
    assert dashboard.script("return window.hit") is None, dashboard.path()
    assert dashboard.script(PLANTED) == [], dashboard.path()
    shown = dashboard.script(SHOWN)
    missing = [field for field in fields if hostile(field) not in shown]
    assert missing == [], dashboard.path()


@pytest.fixture(scope="module")
def planted(play):
    """Hostile texts in all that the API takes them in."""
    defaults = {play.actor: {"class": hostile("default class"), "parameters": {"text": hostile("default")}},
                hostile("default type"): {"fixed": {hostile("default name"): 1}}}
    spec = {"type": hostile("type"), "region": hostile("region"), "defaults": defaults,
            "credentials": {"roleArn": hostile("role")}, "backend": {"type": "local", "path": "/" + hostile("path")}}
    kind, application = unique("outside"), unique("hostile")
    odd, environment = play.environment(**spec), play.environment()
    outside = play.register(
        environment, kind, name=hostile("name"), existingResourceId=hostile("id"),
        parameters={hostile("parameter name"): hostile("parameter")}, outputs={hostile("output name"): hostile("output")})
    resources = {
        "outside": {"type": kind, "reference": {"mode": "existing", "id": outside}},
        "says": play.acts(hostile("line"), text=hostile("text")),
        "fails": play.acts(needs="/no/such/file", complaint=hostile("complaint"))}
    ended = play.run(environment, resources, application, expect="Failed", commitId=hostile("commit"),
                     metadata={hostile("key"): hostile("value")}, allowReplace=[hostile("replace")])
    play.api.put(f"/v1/environments/{environment}/pools/idle",
                 {"type": play.actor, "size": 0, "parameters": {"text": hostile("pool")}})
    escaped = [hostile(field).replace('"', '\\"') for field in ("engine", "source", "field", "input text", "output text")]
    template = play.template(unique("odd"), MODULE % tuple(escaped))
    says = next(operation["resourceId"] for operation in ended["operations"] if operation["resource"] == "says")
    return {"odd": odd, "environment": environment, "application": application, "id": ended["id"], "outside": outside,
            "says": says, "template": template}


def test_a_deployment_shows_what_it_was_given_and_its_log_what_was_said_as_text(dashboard, planted):
    dashboard.deployment(planted["id"]).until_log_ends()
    assert any(hostile("line") in row["said"] for row in dashboard.log())
    assert any(hostile("complaint") in row["said"] for row in dashboard.log())
    harmless(dashboard, "commit", "replace", "complaint", "line")
    # In the file and among the metadata they are in JSON.
    shown = dashboard.script(SHOWN).replace('\\"', '"')
    assert all(hostile(field) in shown for field in ("text", "key", "value"))
    for summary in dashboard.all("summary"):
        dashboard.script("arguments[0].click()", summary)
    harmless(dashboard)
    dashboard.picture("hostile", whole=True)


def test_records_show_what_they_were_given_as_text(dashboard, planted):
    for path, fields in (
        (f"/resources/{planted['outside']}", ("name", "id", "parameter name", "parameter", "output name", "output")),
        (f"/resources/{planted['says']}", ("text",)),
        (f"/environments/{planted['odd']}", ("type", "region", "role", "path", "default class", "default", "default type",
                                             "default name")),
        (f"/environments/{planted['environment']}", ("name",)),
        (f"/environments/{planted['environment']}/pools/idle", ("pool",)),
        (f"/templates/{planted['template']}", ("engine", "source", "field", "input text", "output text")),
        (f"/applications/{planted['application']}", ()),
        (f"/deployments/{planted['id']}/retry", ()),
        (f"/applications/{planted['application']}/environments/{planted['environment']}/teardown", ()),
    ):
        dashboard.open(path)
        harmless(dashboard, *fields)


def test_lists_show_what_they_list_and_what_they_were_asked_as_text(dashboard, planted):
    asked = quote(hostile("asked"), safe="")
    for path, fields in (
        ("/", ()),
        ("/environments", ("type", "region")),
        (f"/deployments?environment={planted['environment']}", ("commit",)),
        (f"/deployments?text={asked}", ("asked",)),
        (f"/resources?environment={planted['environment']}", ("name",)),
        (f"/resources?text={asked}&type={asked}", ("asked",)),
        (f"/audit?day=2026-01-01&principal={asked}&action={asked}&subject={asked}&noun={asked}", ("asked",)),
        ("/audit", ()), ("/applications", ()), ("/templates", ()),
    ):
        dashboard.open(path)
        harmless(dashboard, *fields)


def test_what_is_refused_is_told_as_text(dashboard, planted, play):
    dashboard.expect_fault("the server responded with a status of 4")
    tag = quote(TAG, safe="")
    for path in (f"/deployments/{tag}", f"/resources/{tag}", f"/environments/{tag}", f"/applications/{tag}", f"/{tag}",
                 f"/templates/{tag}", f"/environments/dev/pools/{tag}", f"/applications/x/environments/{tag}/teardown",
                 f"/deployments?environment={tag}", f"/deployments?status={tag}", f"/deployments?cursor={tag}",
                 f"/resources?status={tag}", f"/audit?day={tag}", f"/audit?deployment={tag}",
                 f"/templates/note?version={tag}", f"/deployments/{planted['id']}?{tag}={tag}"):
        dashboard.open(path)
        harmless(dashboard)
        assert dashboard.all("h1"), path
    # A form whose fields somebody has changed.
    gate = play.gate()
    id = play.deploy(planted["environment"], {"slow": play.acts("begins", f"wait {gate}")})
    dashboard.open(f"/deployments/{id}/cancel")
    dashboard.script("document.querySelector('input[name=rollback]').value = arguments[0]", TAG)
    dashboard.follow("Cancel the deployment")
    assert "body_invalid" in dashboard.text(".notice.error")
    harmless(dashboard)
    gate.touch()
    play.ended(id)


def test_the_policy_of_every_page_forbids_what_is_not_its_own(dashboard, planted, stack):
    for path in ("/", "/deployments", f"/deployments/{planted['id']}", "/resources", "/audit", "/templates", "/nowhere"):
        request = urllib.request.Request(stack["apiUrl"] + path, headers={"accept": "text/html"})
        try:
            answer = urllib.request.urlopen(request, timeout=30)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
            assert answer.headers["x-content-type-options"] == "nosniff", path
        assert policy["default-src"] == "'none'" and policy["script-src"] == policy["style-src"] == "'self'", path
        assert {"base-uri", "form-action", "frame-ancestors"} <= set(policy) and "unsafe" not in str(policy), path

    # And it holds: what got into a page all the same would not run.
    dashboard.deployment(planted["id"])
    dashboard.script("document.getElementById('live').insertAdjacentHTML('beforeend', arguments[0])",
                     '<img src="data:," onerror="window.hit=1"><a id="bait" href="javascript:window.hit=1">x</a>')
    dashboard.script("document.getElementById('bait').click()")
    dashboard.until(lambda: len(dashboard.driver.get_log("browser")) >= 2, "the browser refuses both")
    assert dashboard.script("return window.hit") is None
