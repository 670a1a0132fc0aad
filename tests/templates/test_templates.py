"""The resource templates in infra/templates: is each complete, and does terraform make of it what its README says?

What runs on terraform's built-in provider needs `terraform` on PATH. The AWS ones also need the AWS provider in a
filesystem mirror (CONDUCTOR_PROVIDER_MIRROR, terraform's own mirror folders, or one below /opt or /usr/local/share) and
an emulator: the one that AWS_ENDPOINT_URL or .local/stack.json names when it answers on this machine, else a MiniStack
of our own. What is missing is named in the reason of the skipped tests. Nothing here ever talks to AWS.

Terraform with the AWS provider takes seconds for anything, so whatever can share a run shares it: the fixtures run
terraform once for all templates, and the tests look at what came out for theirs.
"""

import importlib.util
import ipaddress
import json
import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.parse
import urllib.request
from pathlib import Path

import boto3
import pytest
import yaml
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER = REPOSITORY / "infra" / "templates"
TEMPLATES = sorted(path.name for path in FOLDER.iterdir() if path.is_dir())

BUILTIN = ["note", "volume"]
APPLIED = ["dynamodb-table", "s3", "sns-topic", "sqs"]
PLANNED = ["dns", "mysql", "postgres", "redis", "route"]
AWS = sorted(APPLIED + PLANNED)

FILES = ["README.md", "VERSION", "example.score.yaml", "main.tf", "outputs.tf", "variables.tf", "versions.tf"]
RESERVED = {"conductor_resource_id", "conductor_name", "conductor_tags"}

ID = "01930d4e-7c1a-7b3c-9d2e-0123456789ab"
SUFFIX = "0123456789ab"
# As long as a name may be, with a digit in front, what no service takes inside, and dashes wherever it may be cut.
UGLY = "1s3.large#shop--a.b-c-d-e-f-g-h-i-j-k-l-m-n-o-p-q-r-s-t-u-v-w-x"
TAGS = {"conductor-name": "s3.large#shop", "team": "orders"}
ZONE = "conductor-templates.example.com"


# ---------------------------------------------------------------- the files


def blocks(template, file, kind):
    """Top-level blocks of formatted HCL, by label. Enough for our own files, and a test holds them to the format."""
    text = (FOLDER / template / file).read_text()
    return dict(re.findall(rf'^{kind} "(\w+)" {{\n(.*?)^}}', text, re.M | re.S))


def attribute(body, name):
    found = re.search(rf"^  {name}\s+= (.*)$", body, re.M)
    return found and found[1]


def inputs(template):
    return blocks(template, "variables.tf", "variable")


def outputs(template):
    return blocks(template, "outputs.tf", "output")


def required(template):
    return {name for name, body in inputs(template).items() if attribute(body, "default") is None} - RESERVED


def example(template):
    return yaml.safe_load((FOLDER / template / "example.score.yaml").read_text())


def test_every_template_is_in_one_of_the_groups():
    assert TEMPLATES == sorted(BUILTIN + AWS)


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_template_has_its_files_and_no_others(template):
    assert sorted(path.name for path in (FOLDER / template).iterdir() if path.name != ".terraform") == FILES
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", (FOLDER / template / "VERSION").read_text())


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_template_leaves_backend_and_provider_to_the_root_module(template):
    text = "".join(path.read_text() for path in (FOLDER / template).glob("*.tf"))
    assert not re.search(r"^\s*(backend|cloud|provider)\b[^=]*{", text, re.M)
    assert 'required_version = ">= 1.9"' in text
    if template in AWS:
        assert re.search(r'source\s+= "hashicorp/aws"\n\s+version = "~> 5\.100"', text)


@pytest.mark.parametrize("template", TEMPLATES)
def test_inputs_and_outputs_are_described_and_typed_and_in_the_readme(template):
    readme = (FOLDER / template / "README.md").read_text()
    for name, body in inputs(template).items():
        assert attribute(body, "description") and attribute(body, "type"), name
        assert attribute(body, "nullable") == "false", name
        if name in RESERVED:
            assert f"`{name}`" in readme
        else:
            default = attribute(body, "default")
            shown = "required" if default is None else f"`{default}`"
            assert re.search(rf"^\| `{name}` \| .* \| {re.escape(shown)} \| ", readme, re.M), name
    for name, body in outputs(template).items():
        assert attribute(body, "description"), name
        sensitive = "yes" if attribute(body, "sensitive") == "true" else "no"
        assert f"| `{name}` | {sensitive} | " in readme, name
        assert name not in ("password", "secret") or sensitive == "yes", name


@pytest.mark.parametrize("template", TEMPLATES)
def test_reserved_inputs_are_declared_only_where_they_are_used(template):
    main = (FOLDER / template / "main.tf").read_text()
    for name in inputs(template):
        used = f"var.{name}" in main + (FOLDER / template / "outputs.tf").read_text()
        assert used, f"{name} is declared and not used"


@pytest.mark.parametrize("template", TEMPLATES)
def test_the_example_is_a_score_file_that_uses_only_what_is_declared(template):
    score = example(template)
    assert set(score) == {"apiVersion", "metadata", "containers", "resources"}
    assert score["apiVersion"] == "score.dev/v1b1"
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]{0,61}[a-z0-9]", score["metadata"]["name"])
    (container,) = score["containers"].values()
    assert container["image"] and container["variables"]

    resources = score["resources"]
    assert template in {resource["type"] for resource in resources.values()}
    for resource in resources.values():
        assert set(resource) <= {"type", "params"}
        params = set(resource.get("params", {}))
        assert params <= set(inputs(resource["type"])) - RESERVED
        assert required(resource["type"]) <= params

    placeholders = re.findall(r"\${(.*?)}", (FOLDER / template / "example.score.yaml").read_text())
    assert placeholders
    for placeholder in placeholders:
        root, resource, output = placeholder.split(".")
        assert root == "resources" and output in outputs(resources[resource]["type"]), placeholder


# ---------------------------------------------------------------- terraform


class Terraform:
    """A root module in a folder of its own, as Conductor writes it: all JSON, the template as a module."""

    def __init__(self, folder, environment):
        self.folder = folder
        self.environment = environment

    def write(self, modules, provider=None):
        root = {"module": {}, "output": {}}
        if provider:
            root["provider"] = {"aws": provider}
        for key, (template, params) in modules.items():
            root["module"][key] = {"source": str(FOLDER / template), **params}
            for name, body in outputs(template).items():
                output = {"value": f"${{module.{key}.{name}}}"}
                if attribute(body, "sensitive") == "true":
                    output["sensitive"] = True
                root["output"][f"{key}_{name}"] = output
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "main.tf.json").write_text(json.dumps(root))

    def run(self, *arguments, timeout=120):
        return subprocess.run(
            ["terraform", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def must(self, *arguments, timeout=120):
        done = self.run(*arguments, timeout=timeout)
        assert done.returncode == 0, f"terraform {' '.join(arguments)}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def prepare(self, prepared=None):
        """init, or, given a folder where that was done for the same provider, what is left to do after copying it."""
        if prepared is None:
            self.must("init", "-input=false", "-no-color")
        else:
            # A link to the provider stays a link.
            shutil.copytree(prepared.folder / ".terraform", self.folder / ".terraform", symlinks=True)
            shutil.copy(prepared.folder / ".terraform.lock.hcl", self.folder)
            self.must("get", "-no-color")

    def apply(self, *arguments, timeout=180):
        """Events by type, and the outputs by module and name."""
        log = self.must("apply", "-json", "-auto-approve", "-input=false", *arguments, timeout=timeout)
        values = {}
        for key, output in json.loads(self.must("output", "-json")).items():
            module, name = key.split("_", 1)
            values.setdefault(module, {})[name] = output["value"]
        return {"log": log, "events": [json.loads(line) for line in log.splitlines()], "outputs": values}


def changes(result, module):
    """What an apply did to a module's resources: (address within the module, action)."""
    prefix = f"module.{module}."
    return [
        (event["hook"]["resource"]["addr"].removeprefix(prefix), event["hook"]["action"])
        for event in result["events"]
        if event["type"] == "apply_complete"
        and event["hook"]["resource"]["addr"].startswith(prefix)
        and event["hook"]["action"] != "read"
    ]


@pytest.fixture(scope="session")
def environment(tmp_path_factory):
    """Terraform's environment, from nothing: no settings and no keys of whoever runs the tests."""
    if not shutil.which("terraform"):
        pytest.skip("terraform is not on PATH")
    home = tmp_path_factory.mktemp("home")
    config = home / "cli.tfrc"
    config.write_text("")
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "TF_CLI_CONFIG_FILE": str(config),
        "TF_IN_AUTOMATION": "1",
        "CHECKPOINT_DISABLE": "1",
    }


def test_templates_are_formatted(environment):
    done = Terraform(FOLDER, environment).run("fmt", "-check", "-diff", "-recursive")
    assert done.returncode == 0, done.stdout


# ---------------------------------------------------------------- on the built-in provider


@pytest.fixture
def builtin(tmp_path, environment):
    def start(template, **params):
        terraform = Terraform(tmp_path, environment)
        terraform.write({template: (template, params)})
        terraform.prepare()
        return terraform

    return start


def test_a_note_is_updated_in_place_and_replaced_when_asked_to(builtin):
    terraform = builtin("note", text="first", secret="hush-hush-hush")
    made = terraform.apply()
    first = made["outputs"]["note"]
    assert changes(made, "note") == [("terraform_data.this", "create")]
    assert first == {"text": "first", "length": 5, "tags": {}, "id": first["id"], "secret": "hush-hush-hush"}
    assert "hush-hush-hush" not in made["log"]

    terraform.write({"note": ("note", {"text": "Zürich", "tags": {"a": "b"}, "secret": "other-secret"})})
    updated = terraform.apply()
    assert changes(updated, "note") == [("terraform_data.this", "update")]
    second = updated["outputs"]["note"]
    assert second == {"text": "Zürich", "length": 6, "tags": {"a": "b"}, "id": first["id"], "secret": "other-secret"}
    assert "other-secret" not in updated["log"]

    terraform.write({"note": ("note", {"text": "Zürich", "tags": {"a": "b"}, "generation": 1})})
    replaced = terraform.apply()
    assert changes(replaced, "note") == [("terraform_data.this", "delete"), ("terraform_data.this", "create")]
    assert replaced["outputs"]["note"]["id"] != first["id"]

    terraform.must("destroy", "-auto-approve", "-no-color")
    assert json.loads((terraform.folder / "terraform.tfstate").read_text())["resources"] == []


def test_a_note_takes_anything_that_can_be_text(builtin):
    made = builtin("note", text=12.5, tags={"n": 1, "b": True}).apply()["outputs"]["note"]
    assert made["text"] == "12.5" and made["tags"] == {"n": "1", "b": "true"}


def test_a_note_fails_when_asked_to_and_what_was_there_stays(builtin):
    terraform = builtin("note", text="first", fail=True)
    done = terraform.run("apply", "-auto-approve", "-no-color")
    assert done.returncode == 1 and "This note was asked to fail (fail = true)." in done.stderr

    terraform.write({"note": ("note", {"text": "first"})})
    first = terraform.apply()["outputs"]
    terraform.write({"note": ("note", {"text": "second", "fail": True})})
    assert terraform.run("plan", "-no-color").returncode == 1
    terraform.write({"note": ("note", {"text": "first"})})
    again = terraform.apply()
    assert again["outputs"] == first and changes(again, "note") == []


@pytest.mark.parametrize("name", ["uploads", UGLY, "a" * 63, "#", "volume.fast#shop.uploads"])
def test_a_volume_has_a_name_that_volumes_may_have_and_keeps_it(builtin, name):
    terraform = builtin("volume", conductor_resource_id=ID, conductor_name=name)
    source = terraform.apply()["outputs"]["volume"]["source"]
    assert re.fullmatch(rf"[a-z0-9]([a-z0-9-]{{0,48}}[a-z0-9])?-{SUFFIX}", source)

    renamed = {"conductor_resource_id": ID, "conductor_name": "renamed", "size": "10Gi"}
    terraform.write({"volume": ("volume", renamed)})
    again = terraform.apply()
    assert again["outputs"]["volume"] == {"source": source, "size": "10Gi"} and changes(again, "volume") == []


# ---------------------------------------------------------------- the AWS provider and an emulator


def mirror():
    """The folder of a filesystem mirror that holds the AWS provider for this machine, or None."""
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    target = f"{platform.system().lower()}_{machine}"

    def holds(folder):
        provider = folder / "registry.terraform.io" / "hashicorp" / "aws"
        return any(provider.glob(f"5.*/{target}")) or any(provider.glob(f"*aws_5.*_{target}.zip"))

    if named := os.environ.get("CONDUCTOR_PROVIDER_MIRROR"):
        return Path(named) if holds(Path(named)) else None
    data = os.environ.get("XDG_DATA_DIRS", "/usr/local/share:/usr/share").split(":")
    implied = [Path.home() / ".terraform.d/plugins", Path.home() / ".local/share/terraform/plugins"]
    implied += [Path(folder) / "terraform/plugins" for folder in data if folder]
    shallow = [found.parent for top in ("/opt", "/usr/local/share") for depth in ("*", "*/*")
               for found in sorted(Path(top).glob(f"{depth}/registry.terraform.io"))]
    return next((folder for folder in implied + shallow if holds(folder)), None)


@pytest.fixture(scope="session")
def aws_environment(environment, tmp_path_factory):
    folder = mirror()
    if folder is None:
        pytest.skip("no filesystem mirror with the AWS provider 5.x found; name one in CONDUCTOR_PROVIDER_MIRROR")
    config = tmp_path_factory.mktemp("cli") / "cli.tfrc"
    config.write_text(f"provider_installation {{\n  filesystem_mirror {{\n    path = {json.dumps(str(folder))}\n  }}\n}}\n")
    return {**environment, "TF_CLI_CONFIG_FILE": str(config), "AWS_EC2_METADATA_DISABLED": "true"}


def healthy(url):
    """Whether MiniStack answers there. Only on this machine: the tests must never meet AWS."""
    host = urllib.parse.urlsplit(url).hostname or ""
    try:
        if host != "localhost" and not ipaddress.ip_address(host).is_loopback:
            return False
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{url}/_ministack/health", timeout=2) as answer:
            return answer.status == 200
    except (ValueError, OSError):
        return False


class Emulator:
    def __init__(self, url, region):
        self.url, self.region = url, region
        self.keys = {
            "AWS_ACCESS_KEY_ID": os.environ.get("AWS_ACCESS_KEY_ID") or "test",
            "AWS_SECRET_ACCESS_KEY": os.environ.get("AWS_SECRET_ACCESS_KEY") or "test",
        }
        if token := os.environ.get("AWS_SESSION_TOKEN"):
            self.keys["AWS_SESSION_TOKEN"] = token

    def client(self, service):
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=self.region,
            aws_access_key_id=self.keys["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.keys["AWS_SECRET_ACCESS_KEY"],
            aws_session_token=self.keys.get("AWS_SESSION_TOKEN"),
            config=Config(s3={"addressing_style": "path"}, connect_timeout=5, read_timeout=20, retries={"max_attempts": 2}, proxies={}),
        )

    def lets_us_in(self):
        try:
            self.client("s3").list_buckets()
            self.client("sqs").list_queues()
            return True
        except (ClientError, BotoCoreError):
            return False


def running_stack():
    """(url, region) of each stack that somebody has up."""
    region = os.environ.get("AWS_REGION") or "eu-central-1"
    if url := os.environ.get("AWS_ENDPOINT_URL"):
        yield url.rstrip("/"), region
    stack = REPOSITORY / ".local" / "stack.json"
    if stack.is_file():
        told = json.loads(stack.read_text())
        if url := told.get("awsEndpointUrl"):
            yield url.rstrip("/"), told.get("region") or region


@pytest.fixture(scope="session")
def emulator(tmp_path_factory):
    for url, region in running_stack():
        if healthy(url) and Emulator(url, region).lets_us_in():
            yield Emulator(url, region)
            return
    if importlib.util.find_spec("ministack") is None:
        pytest.skip("no emulator: none is up, and ministack is not installed (pip install ministack==1.5.33)")

    folder = tmp_path_factory.mktemp("ministack")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "S3_DATA_DIR": str(folder / "s3"),
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "AWS_ENDPOINT_URL": url,
    }
    # Ended from outside, pytest would end without what stands in `finally`.
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))
    with open(folder / "log", "wb") as log:
        # A process group of its own, so that whatever it starts ends with it.
        process = subprocess.Popen([sys.executable, "-m", "ministack"], cwd=folder, env=environment, stdin=subprocess.DEVNULL,
                                   stdout=log, stderr=log, start_new_session=True)
    try:
        for _ in range(150):
            if healthy(url):
                break
            try:
                process.wait(timeout=0.2)
            except subprocess.TimeoutExpired:
                continue
            break
        else:
            pytest.fail("MiniStack did not answer within 30 s")
        assert process.poll() is None, (folder / "log").read_text()[-4000:]
        yield Emulator(url, "eu-central-1")
    finally:
        for kind, patience in ((signal.SIGTERM, 10), (signal.SIGKILL, 5)):
            try:
                os.killpg(process.pid, kind)
                process.wait(timeout=patience)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                pass
        signal.signal(signal.SIGTERM, before)


PROVIDER = {
    "s3_use_path_style": True,
    "skip_credentials_validation": True,
    "skip_metadata_api_check": "true",
    "skip_requesting_account_id": True,
    "skip_region_validation": True,
}


def named(template, name=UGLY):
    """The reserved inputs that the template declares, as Conductor passes them."""
    passed = {"conductor_resource_id": ID, "conductor_name": name, "conductor_tags": TAGS}
    return {key: passed[key] for key in inputs(template) if key in passed}


ENOUGH = {
    "dns": {"zone": ZONE, "target": "192.0.2.10"},
    "route": {
        "host": "shop.example.com",
        "port": 8080,
        "listener": "arn:aws:elasticloadbalancing:eu-central-1:123456789012:listener/app/shared/50dc6c495c0c9188/f2f7dc8efc522ab2",
        "vpc": "vpc-0a1b2c3d4e5f60718",
    },
}


@pytest.fixture(scope="session")
def validated(aws_environment, tmp_path_factory):
    """Every AWS template with the parameters of its example, checked at once; its .terraform serves the others."""
    terraform = Terraform(tmp_path_factory.mktemp("validated"), aws_environment)
    modules = {}
    for template in AWS:
        resource = next(r for r in example(template)["resources"].values() if r["type"] == template)
        known = {k: v for k, v in resource.get("params", {}).items() if "${" not in str(v)}
        modules[template] = (template, {**known, **named(template)})
    terraform.write(modules, {"region": "eu-central-1", **PROVIDER})
    terraform.prepare()
    terraform.diagnostics = json.loads(terraform.run("validate", "-json").stdout)["diagnostics"]
    return terraform


@pytest.mark.parametrize("template", AWS)
def test_terraform_finds_a_template_valid(validated, template):
    mine = [d for d in validated.diagnostics if f"/{template}/" in json.dumps(d) or f'"{template}"' in json.dumps(d)]
    assert mine == []


def test_terraform_has_nothing_else_to_say(validated):
    assert validated.diagnostics == []


BAD = [
    ("s3", {"kmskey": "my key"}, "kmskey must be the ARN, id or alias"),
    ("s3", {"conductor_resource_id": "42"}, "conductor_resource_id must be a UUID"),
    ("dynamodb-table", {"hashtype": "string"}, "hashtype must be S, N or B."),
    ("dynamodb-table", {"hashkey": ""}, "hashkey must have 1 to 255 characters."),
    ("dynamodb-table", {"indexes": [{"name": "i", "hashkey": "a"}]}, "indexes: each needs a name of 3 to 255"),
    ("dynamodb-table", {"indexes": [{"name": "one", "hashkey": "a"}] * 2}, "indexes: each name may be used once."),
    ("sqs", {"visibility": 43201}, "visibility must be a whole number from 0 to 43200."),
    ("sqs", {"maxreceives": 1.5}, "maxreceives must be a whole number from 1 to 1000."),
    ("sqs", {"deadletter": "failed-jobs"}, "deadletter must be the ARN of an SQS queue"),
    ("sns-topic", {"displayname": "x" * 101}, "displayname must have at most 100 characters."),
    ("postgres", {"username": "admin"}, "username must begin with a letter"),
    ("postgres", {"storage": 5}, "storage must be a whole number from 20 to 65536."),
    ("postgres", {"securitygroups": ["default"]}, "securitygroups must be ids"),
    ("mysql", {"database": "my-shop"}, "database must begin with a letter"),
    ("mysql", {"instance": "t4g.micro"}, "instance must be an RDS instance class"),
    ("redis", {"nodes": 7}, "nodes must be a whole number from 1 to 6."),
    ("redis", {"engineversion": "5.0.6"}, "engineversion must be a Redis OSS version"),
    ("dns", {**ENOUGH["dns"], "zone": "localhost"}, "zone must be the name of a hosted zone"),
    ("dns", {**ENOUGH["dns"], "name": "-shop"}, "name must be one or more lower-case DNS labels"),
    ("route", {**ENOUGH["route"], "path": "api"}, "path must begin with"),
    ("route", {**ENOUGH["route"], "listener": "shared"}, "listener must be the ARN of a listener"),
]


@pytest.fixture(scope="session")
def refused(validated, tmp_path_factory):
    terraform = Terraform(tmp_path_factory.mktemp("refused"), validated.environment)
    modules = {f"bad{n}": (template, {**named(template), **params}) for n, (template, params, _) in enumerate(BAD)}
    terraform.write(modules, {"region": "eu-central-1", **PROVIDER})
    terraform.prepare(validated)
    return json.loads(terraform.run("validate", "-json").stdout)["diagnostics"]


@pytest.mark.parametrize("case", range(len(BAD)), ids=[f"{t}-{m.split()[0].strip(':')}-{n}" for n, (t, _, m) in enumerate(BAD)])
def test_a_bad_input_is_refused_with_a_clear_message(refused, case):
    (told,) = [d["detail"] for d in refused if f"bad{case}/variables.tf" in d["detail"]]
    assert BAD[case][2] in told


def test_every_bad_input_is_refused_once(refused):
    assert len([d for d in refused if d["severity"] == "error"]) == len(BAD)


# ---------------------------------------------------------------- planned


NAMES = {"": UGLY, "-empty": "#", "-long": "a" * 63, "-plain": "orders"}

# The attribute that holds the physical name, and what the service takes there.
PHYSICAL = {
    "s3": ("aws_s3_bucket.this", "bucket", r"(?=.{3,63}$)[a-z0-9][a-z0-9-]*[a-z0-9]"),
    "dynamodb-table": ("aws_dynamodb_table.this", "name", r"[a-zA-Z0-9_.-]{3,255}"),
    "sqs": ("aws_sqs_queue.this", "name", r"[a-zA-Z0-9_-]{1,80}"),
    "sns-topic": ("aws_sns_topic.this", "name", r"[a-zA-Z0-9_-]{1,256}"),
    "postgres": ("aws_db_instance.this", "identifier", r"(?=.{1,63}$)[a-z]([a-z0-9]|-(?!-))*[a-z0-9]"),
    "mysql": ("aws_db_instance.this", "identifier", r"(?=.{1,63}$)[a-z]([a-z0-9]|-(?!-))*[a-z0-9]"),
    "redis": ("aws_elasticache_replication_group.this", "replication_group_id", r"(?=.{1,40}$)[a-z]([a-z0-9]|-(?!-))*[a-z0-9]"),
    "dns": ("terraform_data.label", "input", r"(?=.{1,63}$)[a-z0-9][a-z0-9-]*[a-z0-9]"),
    # The prefix; five characters and the id's come behind it, 32 in all.
    "route": ("terraform_data.prefix", "input", r"(?!internal-)(?=.{1,14}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?"),
}


@pytest.fixture(scope="session")
def planned(validated, emulator, tmp_path_factory):
    """The plan for every AWS template under every name, and what it wants of a module: {address: change}."""
    terraform = Terraform(tmp_path_factory.mktemp("planned"), {**validated.environment, **emulator.keys, "AWS_ENDPOINT_URL": emulator.url})
    modules = {f"{t}{n}": (t, {**ENOUGH.get(t, {}), **named(t, name)}) for t in AWS for n, name in NAMES.items()}
    modules["dns-alias"] = ("dns", {"zone": ZONE, "name": "shop", "target": "lb.example.com", "aliaszone": "Z35SXDOTRQ7X7K", **named("dns")})
    modules["dns-cname"] = ("dns", {"zone": ZONE, "name": "shop", "target": "lb.example.com", **named("dns")})
    modules["dns-ipv6"] = ("dns", {"zone": ZONE, "name": "shop", "target": "2001:db8::1", **named("dns")})
    modules["route-below"] = ("route", {**ENOUGH["route"], "path": "/api/", **named("route")})
    modules["sqs-fifo"] = ("sqs", {"fifo": True, **named("sqs")})
    modules["sns-topic-fifo"] = ("sns-topic", {"fifo": True, **named("sns-topic")})
    terraform.write(modules, {"region": emulator.region, **PROVIDER})
    terraform.prepare(validated)

    # The dns template looks its zone up; everything else in these plans is made of the parameters alone.
    route53 = emulator.client("route53")
    zone = route53.create_hosted_zone(Name=ZONE, CallerReference=str(tmp_path_factory.getbasetemp()))["HostedZone"]["Id"]
    try:
        terraform.must("plan", "-out=plan", "-input=false", "-no-color")
    finally:
        route53.delete_hosted_zone(Id=zone)
    wanted = {}
    for change in json.loads(terraform.must("show", "-json", "plan"))["resource_changes"]:
        if change["mode"] == "managed":
            module, address = re.fullmatch(r"module\.([\w-]+)\.(.*)", change["address"]).groups()
            wanted.setdefault(module, {})[address] = change["change"]
    return wanted


@pytest.mark.parametrize("template", AWS)
@pytest.mark.parametrize("name", NAMES)
def test_a_physical_name_is_one_that_the_service_takes(planned, template, name):
    address, attribute_name, pattern = PHYSICAL[template]
    physical = planned[f"{template}{name}"][address]["after"][attribute_name]
    assert re.fullmatch(pattern, physical), physical
    assert template == "route" or physical.endswith(f"-{SUFFIX}")
    assert name != "-plain" or physical.startswith("orders")


@pytest.mark.parametrize("template", ["sqs", "sns-topic"])
def test_a_fifo_name_ends_as_the_service_demands(planned, template):
    address, attribute_name, _ = PHYSICAL[template]
    name = planned[f"{template}-fifo"][address]["after"][attribute_name]
    assert name.endswith(f"-{SUFFIX}.fifo") and (template != "sqs" or len(name) <= 80)


@pytest.mark.parametrize("template", [t for t in AWS if "conductor_tags" in inputs(t)])
def test_tags_are_passed_on_with_values_that_aws_takes(planned, template):
    address = "aws_lb_target_group.this" if template == "route" else PHYSICAL[template][0]
    assert planned[template][address]["after"]["tags"] == {"conductor-name": "s3.large-shop", "team": "orders"}


@pytest.mark.parametrize("template, port", [("postgres", 5432), ("mysql", 3306)])
def test_a_database_is_planned_encrypted_private_and_with_a_secret_password(planned, template, port):
    change = planned[template]["aws_db_instance.this"]
    after = change["after"]
    assert change["actions"] == ["create"] and after["engine"] == template and after["port"] == port
    assert after["storage_encrypted"] and not after["publicly_accessible"]
    assert after["backup_retention_period"] == 7 and not after["skip_final_snapshot"]
    # Random, hence not known before the apply.
    assert change["after_unknown"]["password"] is True and change["after_sensitive"]["password"] is True


def test_a_cache_is_planned_encrypted_and_with_a_secret_password(planned):
    change = planned["redis"]["aws_elasticache_replication_group.this"]
    after = change["after"]
    assert change["actions"] == ["create"] and after["engine"] == "redis"
    assert after["transit_encryption_enabled"] and after["at_rest_encryption_enabled"] == "true"
    assert change["after_unknown"]["auth_token"] is True and change["after_sensitive"]["auth_token"] is True


@pytest.mark.parametrize("case, kind, alias", [("dns", "A", False), ("dns-cname", "CNAME", False), ("dns-ipv6", "AAAA", False), ("dns-alias", "A", True)])
def test_a_name_is_planned_as_the_record_that_its_target_needs(planned, case, kind, alias):
    after = planned[case]["aws_route53_record.this"]["after"]
    assert after["type"] == kind and bool(after["alias"]) == alias and (after.get("ttl") is None) == alias
    assert case == "dns" or after["name"] == f"shop.{ZONE}"


@pytest.mark.parametrize("case, paths", [("route", ["/*"]), ("route-below", ["/api", "/api/*"])])
def test_a_route_is_planned_for_its_host_and_everything_below_its_path(planned, case, paths):
    rule = planned[case]["aws_lb_listener_rule.this"]["after"]
    conditions = {key: value[0]["values"] for c in rule["condition"] for key, value in c.items() if value}
    assert conditions == {"host_header": ["shop.example.com"], "path_pattern": paths}
    group = planned[case]["aws_lb_target_group.this"]["after"]
    assert (group["port"], group["protocol"], group["target_type"]) == (8080, "HTTP", "ip")


# ---------------------------------------------------------------- applied


def look_at_s3(emulator, made):
    s3 = emulator.client("s3")
    try:
        s3.head_bucket(Bucket=made["bucket"])
    except ClientError as error:
        return None if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404 else pytest.fail(str(error))
    rule = s3.get_bucket_encryption(Bucket=made["bucket"])["ServerSideEncryptionConfiguration"]["Rules"][0]
    return {
        "private": all(s3.get_public_access_block(Bucket=made["bucket"])["PublicAccessBlockConfiguration"].values()),
        "encryption": rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"],
        "versioning": s3.get_bucket_versioning(Bucket=made["bucket"]).get("Status"),
    }


def look_at_dynamodb(emulator, made):
    dynamodb = emulator.client("dynamodb")
    try:
        table = dynamodb.describe_table(TableName=made["name"])["Table"]
    except dynamodb.exceptions.ResourceNotFoundException:
        return None
    backups = dynamodb.describe_continuous_backups(TableName=made["name"])["ContinuousBackupsDescription"]
    return {
        "keys": {key["KeyType"]: key["AttributeName"] for key in table["KeySchema"]},
        "indexes": [index["IndexName"] for index in table.get("GlobalSecondaryIndexes", [])],
        "ttl": dynamodb.describe_time_to_live(TableName=made["name"])["TimeToLiveDescription"].get("AttributeName"),
        "pitr": backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"],
        "billing": table["BillingModeSummary"]["BillingMode"],
    }


def look_at_sqs(emulator, made):
    sqs = emulator.client("sqs")
    try:
        attributes = sqs.get_queue_attributes(QueueUrl=made["url"], AttributeNames=["All"])["Attributes"]
    except ClientError as error:
        return None if "NonExistentQueue" in error.response["Error"]["Code"] else pytest.fail(str(error))
    return {
        "visibility": attributes["VisibilityTimeout"],
        "encrypted": attributes["SqsManagedSseEnabled"],
        "deadletter": json.loads(attributes.get("RedrivePolicy") or "{}").get("deadLetterTargetArn"),
        "wait": attributes["ReceiveMessageWaitTimeSeconds"],
    }


def look_at_sns(emulator, made):
    sns = emulator.client("sns")
    try:
        attributes = sns.get_topic_attributes(TopicArn=made["arn"])["Attributes"]
    except sns.exceptions.NotFoundException:
        return None
    return {"name": attributes.get("DisplayName") or "", "key": attributes.get("KmsMasterKeyId")}


LOOK = {"s3": look_at_s3, "dynamodb-table": look_at_dynamodb, "sqs": look_at_sqs, "sns-topic": look_at_sns}

# What is deployed first and seen then; what the next deployment changes (besides the name) and is seen then.
STORY = {
    "s3": (
        {},
        {"private": True, "encryption": "AES256", "versioning": "Suspended"},
        {"versioning": True, "force_destroy": True},
        {"private": True, "encryption": "AES256", "versioning": "Enabled"},
    ),
    "dynamodb-table": (
        {"hashkey": "customer", "rangekey": "placed", "ttl": "expires", "indexes": [{"name": "by-placed", "hashkey": "placed"}]},
        {"keys": {"HASH": "customer", "RANGE": "placed"}, "indexes": ["by-placed"], "ttl": "expires", "pitr": "ENABLED", "billing": "PAY_PER_REQUEST"},
        {"pitr": False},
        {"keys": {"HASH": "customer", "RANGE": "placed"}, "indexes": ["by-placed"], "ttl": "expires", "pitr": "DISABLED", "billing": "PAY_PER_REQUEST"},
    ),
    "sqs": (
        {"deadletter": "DEADLETTER"},
        {"visibility": "30", "encrypted": "true", "deadletter": "DEADLETTER", "wait": "20"},
        {"visibility": 60},
        {"visibility": "60", "encrypted": "true", "deadletter": "DEADLETTER", "wait": "20"},
    ),
    "sns-topic": (
        {},
        {"name": "", "key": "alias/aws/sns"},
        {"displayname": "Orders placed"},
        {"name": "Orders placed", "key": "alias/aws/sns"},
    ),
}


@pytest.fixture(scope="session")
def story(validated, emulator, tmp_path_factory):
    """Everything that is applied is made, changed (also in name) and destroyed together; after each step we look."""
    terraform = Terraform(tmp_path_factory.mktemp("applied"), {**validated.environment, **emulator.keys, "AWS_ENDPOINT_URL": emulator.url})
    provider = {"region": emulator.region, **PROVIDER}
    sqs = emulator.client("sqs")
    failed = sqs.create_queue(QueueName=f"templates-failed-{os.getpid()}")["QueueUrl"]
    failed_arn = sqs.get_queue_attributes(QueueUrl=failed, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]

    def modules(name, *steps):
        merged = {t: {k: v for step in steps for k, v in STORY[t][step].items()} for t in APPLIED}
        if "deadletter" in merged["sqs"]:
            merged["sqs"]["deadletter"] = failed_arn
        return {t: (t, {**merged[t], **named(t, name)}) for t in APPLIED}

    def look(made):
        seen = {t: LOOK[t](emulator, made[t]) for t in APPLIED}
        return json.loads(json.dumps(seen).replace(failed_arn, "DEADLETTER"))

    told = {"region": emulator.region}
    terraform.write(modules(UGLY, 0), provider)
    terraform.prepare(validated)
    try:
        told["made"] = terraform.apply()
        made = told["made"]["outputs"]
        told["made"]["seen"] = look(made)
        emulator.client("s3").put_object(Bucket=made["s3"]["bucket"], Key="receipt", Body=b"1")

        terraform.write(modules("renamed", 0, 2), provider)
        told["changed"] = terraform.apply()
        told["changed"]["seen"] = look(made)

        told["again"] = terraform.run("plan", "-detailed-exitcode", "-no-color")
    finally:
        destroyed = terraform.run("destroy", "-auto-approve", "-no-color", timeout=180)
        sqs.delete_queue(QueueUrl=failed)
    assert destroyed.returncode == 0, destroyed.stdout + destroyed.stderr
    told["left"] = look(made)
    return told


@pytest.mark.parametrize("template", APPLIED)
def test_a_template_makes_what_its_readme_says(story, template):
    assert story["made"]["seen"][template] == STORY[template][1]
    done = changes(story["made"], template)
    assert done and all(action == "create" for _, action in done)


@pytest.mark.parametrize("template", APPLIED)
def test_outputs_say_where_it_is(story, template):
    made, region = story["made"]["outputs"][template], story["region"]
    assert set(made) == set(outputs(template)) and all(made.values())
    assert made["arn"].startswith("arn:aws:") and made["arn"].endswith(made["name"])
    assert made.get("region", region) == region
    if template == "s3":
        assert made["bucket"] == made["name"] and made["endpoint"] == f"https://s3.{region}.amazonaws.com"


@pytest.mark.parametrize("template", APPLIED)
def test_a_change_is_made_in_place_and_a_new_name_changes_nothing(story, template):
    assert story["changed"]["seen"][template] == STORY[template][3]
    assert story["changed"]["outputs"][template] == story["made"]["outputs"][template]
    done = changes(story["changed"], template)
    assert done and all(action == "update" for _, action in done)


def test_applied_once_more_there_is_nothing_to_do(story):
    assert story["again"].returncode == 0, story["again"].stdout


@pytest.mark.parametrize("template", APPLIED)
def test_a_destroyed_one_is_gone(story, template):
    assert story["left"][template] is None
