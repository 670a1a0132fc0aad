"""Each function, in a container as `sam local invoke` runs it, answers the event that it is for."""

import json
import subprocess

import boto3
import pytest

from infra.local import LOCAL, ROOT


@pytest.mark.parametrize("function, event, as_expected", [
    ("api", "api-get-health.json", lambda answer: answer["statusCode"] == 200),
    ("provisioner", "provisioner-wake-up.json", lambda answer: answer == {"batchItemFailures": []}),
    ("sweeper", "sweeper-schedule.json", lambda answer: answer["failed"] == 0),
])
def test_sam_local_invoke_answers(function, event, as_expected, docker, endpoint, stack):
    configuration = boto3.client("lambda").get_function_configuration(FunctionName=stack["functions"][function])
    variables = {**configuration["Environment"]["Variables"], "AWS_ENDPOINT_URL": endpoint}
    logical = f"{function.capitalize()}Function"
    folder = LOCAL / "sam"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "variables.json").write_text(json.dumps({logical: variables}))
    # SAM passes on only variables that the template declares, and on AWS there must be no endpoint in it.
    template = (ROOT / "template.yaml").read_text()
    template = template.replace("CodeUri: target/", f"CodeUri: {ROOT}/target/")
    template = template.replace("        TABLE_NAME:", "        AWS_ENDPOINT_URL: here\n        TABLE_NAME:")
    (folder / "template.yaml").write_text(template)

    done = subprocess.run(
        [f"{ROOT}/.venv/bin/sam", "local", "invoke", logical, "--template", folder / "template.yaml",
         "--event", ROOT / "events" / event, "--env-vars", folder / "variables.json",
         "--skip-pull-image", "--region", stack["region"]],
        env={**docker, "SAM_CLI_TELEMETRY": "0"}, capture_output=True, text=True, timeout=120)

    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    assert as_expected(answer), f"{answer}\n{done.stderr}"
