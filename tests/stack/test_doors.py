"""The ways in: which API there is for which, and that none of them is open where nobody said so."""

import boto3
import pytest

from stack_template import PARAMETERS, properties, resources

CHOICES = PARAMETERS["Authentication"]["AllowedValues"]
ROUTES = {("/", "get"), ("/v1/deployments/{id}/logs", "get"),
          *(("/{proxy+}", method) for method in ("get", "put", "post", "patch", "delete"))}
FUNCTIONS = ("ApiFunction", "StreamFunction")
VARIABLES = ("AUTHENTICATION", "ACCESS", "PUBLIC_URL")


def methods(api):
    return {(path, method): operation for path, item in api["DefinitionBody"]["paths"].items() for method, operation in item.items()}


def ways(choice):
    return set(choice.split(","))


def test_callers_sign_where_nobody_says_otherwise():
    assert PARAMETERS["Authentication"]["Default"] == "iam"
    assert PARAMETERS["Access"]["Default"] == "{}"


def test_each_choice_is_one_that_somebody_can_begin_with():
    """With tokens alone nobody could make the first one; `open` is not one way among others."""
    assert {frozenset(ways(choice)) for choice in CHOICES} == {
        frozenset(names) for names in ({"open"}, {"iam"}, {"oidc"}, {"iam", "oidc"}, {"iam", "token"}, {"oidc", "token"},
                                       {"iam", "oidc", "token"})}


@pytest.mark.parametrize("choice", CHOICES)
def test_the_gateway_asks_for_a_signature_exactly_where_callers_sign(choice):
    apis = properties("AWS::Serverless::Api", Authentication=choice)
    signed = methods(apis["Api"])
    assert signed.keys() == ROUTES
    assert all(operation["security"] == ([{"AWS_IAM": []}] if "iam" in ways(choice) else []) for operation in signed.values())
    others = "iam" in ways(choice) and len(ways(choice)) > 1
    assert set(apis) == ({"Api", "BearerApi"} if others else {"Api"})
    callers = {permission["FunctionName"]["Ref"] for permission in properties("AWS::Lambda::Permission", Authentication=choice).values()
               if "${BearerApi}/*" in permission["SourceArn"]["Sub"]}
    assert callers == (set(FUNCTIONS) if others else set())


def test_the_second_api_is_the_first_without_signatures():
    apis = properties("AWS::Serverless::Api", Authentication="iam,oidc,token")
    first, second = apis["Api"], apis["BearerApi"]
    assert methods(second).keys() == ROUTES
    for route, operation in methods(second).items():
        assert operation == {"x-amazon-apigateway-integration": methods(first)[route]["x-amazon-apigateway-integration"]}
    for same in ("MethodSettings", "GatewayResponses", "BinaryMediaTypes", "EndpointConfiguration", "StageName", "AlwaysDeploy"):
        assert first[same] == second[same], same


@pytest.mark.parametrize("streamed", ("true", "false"))
def test_logs_go_to_the_function_that_streams_where_the_gateway_can(streamed):
    for api in properties("AWS::Serverless::Api", Authentication="iam,token", LogStreaming=streamed).values():
        target = methods(api)["/v1/deployments/{id}/logs", "get"]["x-amazon-apigateway-integration"]["uri"]["Sub"]
        assert ("${StreamFunction.Arn}" in target) == (streamed == "true")


def test_each_api_is_throttled_and_its_stage_follows_its_parameters():
    for api in properties("AWS::Serverless::Api", Authentication="iam,token").values():
        (everything,) = api["MethodSettings"]
        assert everything == {"HttpMethod": "*", "ResourcePath": "/*", "ThrottlingRateLimit": {"Ref": "ApiRateLimit"},
                              "ThrottlingBurstLimit": {"Ref": "ApiBurstLimit"}}
        # Parameters are no part of what SAM compares: without it a stage that was open would stay open.
        assert api["AlwaysDeploy"] is True


def test_the_deployed_stage_is_throttled(stack):
    stage = boto3.client("apigateway").get_stage(restApiId=stack["apiUrl"].split("/")[-2], stageName="live")
    assert stage["methodSettings"]["*/*"]["throttlingRateLimit"] > 0
    assert stage["methodSettings"]["*/*"]["throttlingBurstLimit"] > 0


def test_both_functions_of_the_api_are_told_who_may_come_in_and_nobody_else_is():
    for name, function in properties("AWS::Serverless::Function").items():
        told = set(function.get("Environment", {}).get("Variables", {})) & set(VARIABLES)
        assert told == (set(VARIABLES) if name in FUNCTIONS else set()), name


def test_the_longest_access_fits_into_a_function(stack):
    for function in ("api", "stream"):
        variables = boto3.client("lambda").get_function_configuration(FunctionName=stack["functions"][function])["Environment"]["Variables"]
        others = sum(len(name) + len(value) for name, value in variables.items() if name != "ACCESS")
        assert others + PARAMETERS["Access"]["MaxLength"] < 4096 - 512  # what the emulator's short names leave for AWS's


def test_the_local_stack_alone_is_open(stack):
    assert stack["authentication"] == "open"
    assert stack["apiUrl"].startswith("http://127.0.0.1:")
    assert "BearerApi" not in resources(Authentication="open")
