import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_call.core.domain.errors import ConfigError
from llm_call.core.providers.places import PLACE_VARIABLES, gaps, placed
from llm_call.core.providers.registry import Provider
from llm_call.core.providers.rows import AZURE, PROVIDERS, VERTEX
from llm_call.core.router import Router
from llm_call.core.transport.connection import split_url

KEYS = {name: "sk-secret" for row in PROVIDERS for name in row.credential_env}
PLACED = [row for row in PROVIDERS if gaps(row)]


def url_of(model: str, **places: str) -> str:
    return Router(credentials=KEYS, places=places).resolve(model).endpoint.base_url


def test_variables_fill_the_gaps() -> None:
    assert url_of("bedrock/openai.gpt-oss-20b", AWS_REGION="eu-west-1") == (
        "https://bedrock-runtime.eu-west-1.amazonaws.com/openai/v1"
    )
    assert url_of("bedrock/anthropic.claude-haiku-5-5", AWS_REGION="eu-west-1") == (
        "https://bedrock-mantle.eu-west-1.api.aws/anthropic/v1"
    )
    assert url_of("vertex/gemini-x", GOOGLE_CLOUD_PROJECT="mine", GOOGLE_CLOUD_LOCATION="us-central1") == (
        "https://us-central1-aiplatform.googleapis.com/v1/projects/mine/locations/us-central1/publishers/google"
    )


@pytest.mark.parametrize(
    ("location", "host"),
    [
        ("global", "aiplatform.googleapis.com"),
        ("eu", "aiplatform.eu.rep.googleapis.com"),
        ("us-east5", "us-east5-aiplatform.googleapis.com"),
    ],
)
def test_some_locations_have_a_host_of_their_own(location: str, host: str) -> None:
    found = url_of("vertex/gemini-x", GOOGLE_CLOUD_PROJECT="mine", GOOGLE_CLOUD_LOCATION=location)
    assert found == f"https://{host}/v1/projects/mine/locations/{location}/publishers/google"


def test_the_first_variable_that_is_set_counts_and_an_empty_one_is_not() -> None:
    found = url_of("bedrock/m", AWS_REGION="", AWS_DEFAULT_REGION="eu-west-3")
    assert found.startswith("https://bedrock-runtime.eu-west-3.")


def test_else_the_name_says_where() -> None:
    router = Router(credentials=KEYS)
    target = router.resolve("azure/mine/my-deployment")
    assert (target.endpoint.base_url, target.model) == ("https://mine.openai.azure.com/openai/v1", "my-deployment")
    target = router.resolve("runpod/pod/meta/llama")
    assert (target.endpoint.base_url, target.model) == ("https://pod-8000.proxy.runpod.net/v1", "meta/llama")
    target = Router(credentials=KEYS, places={"GOOGLE_CLOUD_PROJECT": "mine"}).resolve("vertex/us-east5/gemini-x")
    assert "projects/mine/locations/us-east5/" in target.endpoint.base_url


def test_the_rows_own_setting_comes_before_the_variable() -> None:
    row = Provider(name="a", patterns=("a/*",), base_url="https://{region}.example.com", places={"region": "here"})
    assert placed(row, "m", {"AWS_REGION": "there"}).base_url == "https://here.example.com"


@pytest.mark.parametrize(
    "endpoint", ["https://mine.openai.azure.com", "https://Mine.openai.azure.com/", "https://mine.openai.azure.com/x/y"]
)
def test_a_place_may_be_given_as_the_whole_url(endpoint: str) -> None:
    assert url_of("azure/d", AZURE_OPENAI_ENDPOINT=endpoint) == "https://mine.openai.azure.com/openai/v1"


@pytest.mark.parametrize(
    "endpoint", ["https://evil.com/.openai.azure.com", "https://mine.openai.azure.com.evil.com", "http://a@b.c"]
)
def test_but_only_of_the_rows_own_host(endpoint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        url_of("azure/d", AZURE_OPENAI_ENDPOINT=endpoint)
    assert "{resource}.openai.azure.com" in caught.value.hint


def test_a_missing_place_names_its_variables() -> None:
    with pytest.raises(ConfigError) as caught:
        url_of("bedrock/m")
    assert caught.value.message == "bedrock needs a region"
    assert caught.value.hint == "Set AWS_REGION or AWS_DEFAULT_REGION, or use bedrock/<region>/<model>."


@pytest.mark.parametrize(
    "place", ["", "a.b", "-a", "a-", "a@b", "a:1", "a%2Fb", "é", "A b", "a" * 64, "..", "a\nb", "{resource}"]
)
@pytest.mark.parametrize("row", [AZURE, VERTEX], ids=lambda row: row.name)
def test_a_place_that_is_no_host_label_is_refused(row: Provider, place: str) -> None:
    with pytest.raises(ConfigError):
        placed(row, f"{place}/project/m", {})


@given(st.data(), st.sampled_from(PLACED))
def test_no_place_changes_the_host_or_the_path_around_it(data: Any, row: Provider) -> None:
    words = st.one_of(st.text(max_size=12), st.from_regex(r"[a-zA-Z0-9.:/@?#%_-]{1,12}", fullmatch=True))
    values = data.draw(st.fixed_dictionaries(dict.fromkeys(PLACE_VARIABLES, words)))
    name = data.draw(words)
    try:
        url = placed(row, name, values).base_url
    except ConfigError:
        return
    found = split_url(url)
    assert found is not None
    assert (found.scheme, found.username, found.port, found.query) == ("https", None, None, "")
    assert url.count("/") == row.base_url.count("/")
    assert re.search(r"\.(azure\.com|googleapis\.com|amazonaws\.com|api\.aws|runpod\.net)$", found.netloc)
