"""What is watched: the alarms and the dashboard of template.yaml, the metrics that the functions' lines give, and
docs/operations.md say the same. (That the table in the code says it too is a test of `shared/telemetry`.)"""

import base64
import json
import re

import boto3
import pytest

from stack_template import DOCUMENT, ROOT

DOCUMENTATION = (ROOT / "docs/operations.md").read_text()
# What an operator has to be told of, and the metric that shows it.
WANTED = {
    "FailureRateAlarm": ("Conductor", "DeploymentFailures"),
    "LongDeploymentAlarm": ("Conductor", "LongestDeployment"),
    "WaitingAlarm": ("AWS/SQS", "ApproximateNumberOfMessagesVisible"),
    "DeadLetterAlarm": ("AWS/SQS", "ApproximateNumberOfMessagesVisible"),
    "StaleHeartbeatAlarm": ("Conductor", "StaleHeartbeats"),
    "SweeperAlarm": ("AWS/Lambda", "Invocations"),
    "RecursionAlarm": ("AWS/Lambda", "RecursiveInvocationsDropped"),
    "StoreFailureAlarm": ("Conductor", "StoreFailures"),
    "UnsettledAlarm": ("Conductor", "UnsettledRecords"),
}
RESOURCES = DOCUMENT["Resources"]


def of_type(kind):
    return {name: resource["Properties"] for name, resource in RESOURCES.items() if resource["Type"] == kind}


ALARMS = of_type("AWS::CloudWatch::Alarm")


def short(alarm):
    return alarm["AlarmName"]["Sub"].removeprefix("${Name}-")


def section(title):
    return DOCUMENTATION.split(f"\n## {title}\n")[1].split("\n## ")[0]


def first_cells(title):
    return [line.split("|")[1] for line in section(title).splitlines() if line.startswith("| `")]


def documented(title):
    """The names in the first column of a section's tables."""
    return [name for cell in first_cells(title) for name in re.findall("`([^`]+)`", cell)]


METRICS = documented("Metrics")


def metrics_of(alarm):
    """All that an alarm looks at: namespace and name."""
    looked_at = [m["MetricStat"]["Metric"] for m in alarm.get("Metrics", []) if "MetricStat" in m] or [alarm]
    return [(metric["Namespace"], metric["MetricName"]) for metric in looked_at]


def widgets():
    (dashboard,) = of_type("AWS::CloudWatch::Dashboard").values()
    return json.loads(dashboard["DashboardBody"]["Sub"])["widgets"]


def shown():
    """All metrics on the dashboard, as lists that begin with namespace and name."""
    return [metric for widget in widgets() for metric in widget["properties"].get("metrics", [])]


@pytest.mark.parametrize("name", WANTED)
def test_each_alarm_that_is_asked_for_is_there(name):
    assert set(metrics_of(ALARMS[name])) == {WANTED[name]}


def test_each_function_has_an_alarm_on_throttles():
    watched = {dimension["Value"]["Ref"] for alarm in ALARMS.values() if ("AWS/Lambda", "Throttles") in metrics_of(alarm)
               for dimension in alarm["Dimensions"]}
    assert watched == set(of_type("AWS::Serverless::Function"))


def test_each_alarm_tells_the_topic_when_it_goes_off_and_when_it_is_over():
    tells = {"If": ["HasAlarmTopic", [{"Ref": "AlarmTopicArn"}], {"Ref": "AWS::NoValue"}]}
    for name, alarm in ALARMS.items():
        assert alarm["AlarmActions"] == alarm["OKActions"] == tells, name
        assert alarm["AlarmDescription"], name


def test_silence_is_an_alarm_of_the_sweeper_alone():
    breaching = [name for name, alarm in ALARMS.items() if alarm["TreatMissingData"] != "notBreaching"]
    assert breaching == ["SweeperAlarm"]
    sweeper = ALARMS["SweeperAlarm"]
    assert (sweeper["Period"] * sweeper["EvaluationPeriods"], sweeper["TreatMissingData"]) == (180, "breaching")


def test_few_deployments_are_no_failure_rate():
    alarm = ALARMS["FailureRateAlarm"]
    (rate,) = [metric for metric in alarm["Metrics"] if metric.get("ReturnData", True)]
    assert rate["Expression"] == "IF(ended >= 5, 100 * failed / ended, 0)"
    assert alarm["Threshold"] == 10
    assert {metric["Id"] for metric in alarm["Metrics"]} == {"rate", "ended", "failed"}


def test_each_alarm_is_documented_and_no_other():
    assert sorted(documented("Alarms")) == sorted(short(alarm) for alarm in ALARMS.values())


def test_alarms_and_dashboard_use_metrics_that_there_are():
    used = [metric for alarm in ALARMS.values() for metric in metrics_of(alarm)] + [tuple(metric[:2]) for metric in shown()]
    assert {name for namespace, name in used if namespace == "Conductor"} <= set(METRICS)
    for alarm in ALARMS.values():
        dimensions = [m["MetricStat"]["Metric"]["Dimensions"] for m in alarm.get("Metrics", []) if "MetricStat" in m]
        for of_one in dimensions or [alarm["Dimensions"]]:
            if metrics_of(alarm)[0][0] == "Conductor":
                assert of_one == [{"Name": "Stack", "Value": {"Ref": "Name"}}]


def test_the_dashboard_shows_every_metric_and_every_alarm():
    assert {name for namespace, name, *_ in shown() if namespace == "Conductor"} == set(METRICS)
    alarms = [arn.rsplit("${Name}-", 1)[1] for widget in widgets() for arn in widget["properties"].get("alarms", [])]
    assert sorted(alarms) == sorted(short(alarm) for alarm in ALARMS.values())


def test_the_dashboard_counts_apart_only_by_what_is_documented():
    by = {re.findall("`([^`]+)`", row.split("|")[1])[0]: re.findall("`([^`]+)`", row.split("|")[3])
          for row in section("Metrics").splitlines() if row.startswith("| `")}
    for namespace, name, *dimensions in shown():
        names = [part for part in dimensions if isinstance(part, str)][::2]
        if namespace == "Conductor":
            assert names[0] == "Stack" and set(names[1:]) <= set(by[name]) and len(names) <= 2, name


def test_widgets_do_not_overlap():
    cells = [(x, y) for widget in widgets() for x in range(widget["x"], widget["x"] + widget["width"])
             for y in range(widget["y"], widget["y"] + widget["height"])]
    assert len(cells) == len(set(cells)) and max(x for x, _ in cells) < 24


def test_each_outcome_that_is_counted_is_told_somewhere():
    """And each that is told is counted, so that a name is not misspelt."""
    rows = [row.split("|")[4] for row in section("Metrics").splitlines() if row.startswith("| `")]
    counted = {re.findall("`([^`]+)`:", row)[0] for row in rows}
    sources = [path for folder in ("functions", "shared") for path in (ROOT / folder).rglob("*.rs")
               if not path.is_relative_to(ROOT / "shared/telemetry")]
    told = {outcome for path in sources for outcome in re.findall(r'\boutcome = "(\w+)"', path.read_text())}
    assert told == counted


def test_the_deployed_stack_has_them(stack):
    cloudwatch = boto3.client("cloudwatch")
    pages = cloudwatch.get_paginator("describe_alarms").paginate(AlarmNamePrefix=f"{stack['name']}-")
    found = {alarm["AlarmName"] for page in pages for alarm in page["MetricAlarms"]}
    unconditional = {f"{stack['name']}-{short(alarm)}" for name, alarm in ALARMS.items() if "Condition" not in RESOURCES[name]}
    assert unconditional <= found
    body = json.loads(cloudwatch.get_dashboard(DashboardName=stack["name"])["DashboardBody"])
    assert len(body["widgets"]) == len(widgets())
    assert "${" not in json.dumps(body)


def test_the_line_of_a_sweep_gives_metrics(stack):
    event = (ROOT / "events/sweeper-schedule.json").read_bytes()
    answer = boto3.client("lambda").invoke(FunctionName=stack["functions"]["sweeper"], Payload=event, LogType="Tail")
    lines = [json.loads(line) for line in base64.b64decode(answer["LogResult"]).decode().splitlines() if line.startswith("{")]
    (line,) = [line for line in lines if line.get("outcome") == "sweep"]
    assert line["requestId"] and line["Stack"] == stack["name"]
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    assert (directive["Namespace"], directive["Dimensions"]) == ("Conductor", [["Stack"]])
    assert {metric["Name"]: line[metric["Name"]] for metric in directive["Metrics"]} == {
        "DueRecords": line["due"], "OldestDue": line["oldestDueSeconds"], "LongestDeployment": line["longestDeploymentSeconds"]}
