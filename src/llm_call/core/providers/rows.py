"""The rows. Adding a provider that speaks a known dialect is one row; every list of providers is made from them.

Base URLs, variables and the facts in profiles are those that the vendors document (looked at in November 2026), but
for the base URLs of Fireworks, SambaNova, Cerebras, Cohere and NVIDIA, the settings that Grok and Mistral refuse, and
that Moonshot, Qwen and Zhipu have a JSON mode only: these are as other clients have them. No key of theirs was at hand:
what is tested is that each request goes there in its dialect, with its key, under its model's name; a row that was
tried against the real server says so. A row has at most eight lines.
"""

from decimal import Decimal

from msgspec.structs import replace

from llm_call.core.domain.profile import Prices, Profile
from llm_call.core.providers.registry import DEFAULT_PROXY_URL, Provider
from llm_call.core.transport.model_file import PACKAGED_MODEL, model_name

# JSON Schema keywords that llama.cpp's grammar passes over in silence (its release of October 2026). Each was
# tried but `maxContains`, which is taken to go with `contains`.
LLAMA_CPP_IGNORES = (
    *("not", "if", "then", "else", "contains", "minContains", "maxContains"),
    *("uniqueItems", "unevaluatedItems", "patternProperties", "propertyNames", "minProperties", "maxProperties"),
    *("dependentRequired", "dependentSchemas", "unevaluatedProperties", "multipleOf"),
)

LLAMA_CPP = Profile(unenforced_keywords=LLAMA_CPP_IGNORES, string_limit=200)
# A JSON mode, and none for schemas: the prompt says the schema, and the answer is checked against it.
JSON_MODE = Profile(output_mode="json", schema_hint="schema")

SAMPLING = ("temperature", "top_p", "presence_penalty", "frequency_penalty", "logprobs", "top_logprobs")
GPT = Profile(output_limit_field="max_completion_tokens", schema_rule="strict")
GPT_REASONING = replace(GPT, reasoning=True, reasoning_refuses=SAMPLING)
GPT_ALWAYS_REASONING = replace(GPT_REASONING, default_effort="medium")
GPT_RESPONSES_ONLY = replace(GPT_ALWAYS_REASONING, dialect="openai_responses")
OPENAI_MODELS = {
    **dict.fromkeys(("o1-pro*", "o3-pro*", "o[34]-*deep-research*"), GPT_RESPONSES_ONLY),
    **dict.fromkeys(("gpt-5-pro*", "gpt-5.*-pro*", "gpt-5-codex*", "gpt-5.1-codex-max*"), GPT_RESPONSES_ONLY),
    "o[134]*": GPT_ALWAYS_REASONING,
    "gpt-5-chat*": replace(GPT, reasoning=False),
    **dict.fromkeys(("gpt-5.[1-3]-chat*", "gpt-5.1-codex*"), GPT_ALWAYS_REASONING),
    "gpt-5.[1-4]*": GPT_REASONING,  # not without being asked to
    "gpt-5*": GPT_ALWAYS_REASONING,
    **dict.fromkeys(("gpt-3.5*", "gpt-4-turbo*"), replace(JSON_MODE, output_limit_field="max_completion_tokens")),
    "*": GPT,
}
# A thinking model, unless the effort is `none`; where it thinks, it passes over these in silence.
DEEPSEEK = replace(
    JSON_MODE,
    reasoning=True,
    reasoning_refuses=("temperature", "presence_penalty", "frequency_penalty"),
    default_effort="high",
)
GROK_REASONING = Profile(reasoning=True, refuses=("presence_penalty", "frequency_penalty", "stop"))
GROK_MODELS = {"*non-reasoning*": Profile(reasoning=False), "grok-4*": GROK_REASONING, "grok-3-mini*": GROK_REASONING}
# Its models with structured outputs; the others have the JSON mode alone.
GROQ_MODELS = {"openai/gpt-oss-*": Profile(), "*": JSON_MODE}
# JSON Schema keywords that Anthropic documents as not supported by structured outputs. It takes some forms of `pattern`,
# and `minItems` of 0 and 1: these go too, since the answer is checked for them anyway.
ANTHROPIC_LEAVES_OUT = (
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "pattern"),
    *("minItems", "maxItems", "uniqueItems", "prefixItems", "contains", "minContains", "maxContains"),
    *("minProperties", "maxProperties", "patternProperties", "propertyNames", "unevaluatedProperties"),
    *("unevaluatedItems", "dependentRequired", "dependentSchemas", "not", "if", "then", "else"),
)

CLAUDE_PROXY = Provider(
    name="claude_proxy",
    patterns=("max", "max/*", "claude/max/*", "claude-code/max/*"),
    base_url=DEFAULT_PROXY_URL,
    transport="process",
)
FREE = Prices(input=Decimal(0), output=Decimal(0))
IN_PROCESS = Provider(
    name="local",
    patterns=("local/*",),
    base_url="in-process",
    transport="local",
    profile=replace(LLAMA_CPP, stream_only=True, media=(), tools=False, schema_hint="fields", prices=FREE),
    tested="real server",
)


def local_provider(model_path: str) -> Provider:
    """The row of the embedded model for another file than the packaged one."""
    return _serving(model_name(model_path))


def _serving(name: str) -> Provider:
    return replace(IN_PROCESS, models=(name,), default_model=name)


LOCAL = _serving(PACKAGED_MODEL)

OPENAI = Provider(
    name="openai",
    patterns=("openai/*", "gpt-*", "chatgpt-*", "o1*", "o3*", "o4*"),
    base_url="https://api.openai.com/v1",
    credential_env=("OPENAI_API_KEY",),
    default_model="gpt-4o-mini",
    profiles=OPENAI_MODELS,
)
# The same models over the Responses API, for who wants what it alone has.
RESPONSES = replace(
    OPENAI,
    name="responses",
    patterns=("responses/*",),
    codec="openai_responses",
    default_model=None,
)
CLAUDE = Profile(schema_rule="closed", unenforced_keywords=ANTHROPIC_LEAVES_OUT)
ANTHROPIC = Provider(
    name="anthropic",
    patterns=("anthropic/*", "claude-*"),
    base_url="https://api.anthropic.com/v1",
    codec="anthropic_messages",
    credential_env=("ANTHROPIC_API_KEY",),
    default_model="claude-haiku-5-5",
)
ANTHROPIC = replace(ANTHROPIC, profile=CLAUDE)
GEMINI = Provider(
    name="gemini",
    patterns=("gemini/*", "gemini-*"),
    base_url="https://generativelanguage.googleapis.com/v1beta",
    codec="gemini",
    credential_env=("GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_GENERATIVE_AI_API_KEY"),
    default_model="gemini-flash-latest",
)
# Models in the clouds of three: the address holds the user's own place, and two of them sign where no key is set.
AZURE = Provider(
    name="azure",
    patterns=("azure/*",),
    base_url="https://{resource}.openai.azure.com/openai/v1",
    credential_env=("AZURE_OPENAI_API_KEY", "AZURE_API_KEY"),
    auth="api-key",
    profile=GPT,
)
VERTEX = Provider(
    name="vertex",
    patterns=("vertex/*", "vertex_ai/*"),
    base_url="https://{location}-aiplatform.googleapis.com/v1/projects/{project}/locations/{location}/publishers/google",
    codec="gemini",
    credential_env=("CLOUDSDK_AUTH_ACCESS_TOKEN",),
    signing="google",
)
BEDROCK = Provider(
    name="bedrock",
    patterns=("bedrock/*",),
    base_url="https://bedrock-runtime.{region}.amazonaws.com/openai/v1",
    credential_env=("AWS_BEARER_TOKEN_BEDROCK",),
    signing="aws bedrock",
)
# Claude does not speak the OpenAI dialect there.
BEDROCK_CLAUDE = replace(
    BEDROCK,
    name="bedrockclaude",
    patterns=("bedrockclaude/*", "bedrock/anthropic.*", "bedrock/*.anthropic.*", "bedrock/*/anthropic.*"),
    base_url="https://bedrock-mantle.{region}.api.aws/anthropic/v1",
    codec="anthropic_messages",
    signing="aws bedrock-mantle",
)
# Hosts that speak the OpenAI chat dialect.
COMPATIBLE = (
    Provider(
        name="mistral",
        patterns=("mistral/*", "mistral-*"),
        base_url="https://api.mistral.ai/v1",
        credential_env=("MISTRAL_API_KEY",),
        profile=Profile(refuses=("seed", "logprobs", "top_logprobs")),  # its seed has another name
    ),
    Provider(
        name="groq",
        patterns=("groq/*",),
        base_url="https://api.groq.com/openai/v1",
        credential_env=("GROQ_API_KEY",),
        profiles=GROQ_MODELS,
    ),
    Provider(
        name="together",
        patterns=("together/*", "together_ai/*"),
        base_url="https://api.together.ai/v1",
        credential_env=("TOGETHER_API_KEY", "TOGETHERAI_API_KEY"),
    ),
    Provider(
        name="fireworks",
        patterns=("fireworks/*", "fireworks_ai/*"),
        base_url="https://api.fireworks.ai/inference/v1",
        credential_env=("FIREWORKS_API_KEY", "FIREWORKS_AI_API_KEY"),
    ),
    Provider(
        name="deepseek",
        patterns=("deepseek/*", "deepseek-*"),
        base_url="https://api.deepseek.com",
        credential_env=("DEEPSEEK_API_KEY", "DEEPSEEK_API"),
        profile=DEEPSEEK,
    ),
    Provider(
        name="xai",
        patterns=("xai/*", "grok-*"),
        base_url="https://api.x.ai/v1",
        credential_env=("XAI_API_KEY",),
        profiles=GROK_MODELS,
    ),
    Provider(
        name="openrouter",
        patterns=("openrouter/*",),
        base_url="https://openrouter.ai/api/v1",
        credential_env=("OPENROUTER_API_KEY",),
        profile=Profile(cache_markers=True),
    ),
    Provider(
        name="cohere",
        patterns=("cohere/*", "command-*"),
        base_url="https://api.cohere.ai/compatibility/v1",
        credential_env=("COHERE_API_KEY", "CO_API_KEY"),
    ),
    Provider(
        name="cerebras",
        patterns=("cerebras/*",),
        base_url="https://api.cerebras.ai/v1",
        credential_env=("CEREBRAS_API_KEY",),
    ),
    Provider(
        name="sambanova",
        patterns=("sambanova/*",),
        base_url="https://api.sambanova.ai/v1",
        credential_env=("SAMBANOVA_API_KEY",),
    ),
    Provider(
        name="nvidia",
        patterns=("nvidia/*", "nvidia_nim/*"),
        base_url="https://integrate.api.nvidia.com/v1",
        credential_env=("NVIDIA_API_KEY", "NVIDIA_NIM_API_KEY"),
    ),
    Provider(
        name="huggingface",
        patterns=("huggingface/*",),
        base_url="https://router.huggingface.co/v1",
        credential_env=("HF_TOKEN", "HUGGINGFACE_API_KEY", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACEHUB_API_TOKEN"),
    ),
    Provider(
        name="github",
        patterns=("github/*",),
        base_url="https://models.github.ai/inference",
        credential_env=("GITHUB_TOKEN", "GITHUB_API_KEY"),
        tested="retired",  # on 30 July 2026
    ),
    Provider(
        name="moonshot",
        patterns=("moonshot/*",),
        base_url="https://api.moonshot.ai/v1",
        credential_env=("MOONSHOT_API_KEY", "MOONSHOTAI_API_KEY"),
        profile=JSON_MODE,
    ),
    Provider(
        name="qwen",
        patterns=("qwen/*", "dashscope/*"),
        base_url="https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        credential_env=("DASHSCOPE_API_KEY", "ALIBABA_API_KEY"),
        profile=JSON_MODE,
    ),
    Provider(
        name="zhipu",
        patterns=("zhipu/*",),
        base_url="https://open.bigmodel.cn/api/paas/v4",
        credential_env=("ZHIPU_API_KEY", "ZHIPUAI_API_KEY"),
        profile=JSON_MODE,
    ),
    Provider(
        name="zai",
        patterns=("zai/*",),
        base_url="https://api.z.ai/api/paas/v4",
        credential_env=("ZAI_API_KEY",),
        profile=JSON_MODE,
    ),
    Provider(
        name="ollama",
        patterns=("ollama/*",),
        base_url="http://localhost:11434/v1",
    ),
    Provider(
        name="lmstudio",
        patterns=("lmstudio/*", "lm_studio/*"),
        base_url="http://localhost:1234/v1",
    ),
    Provider(
        name="vllm",
        patterns=("vllm/*",),
        base_url="http://localhost:8000/v1",
    ),
    Provider(
        name="llamacpp",
        patterns=("llamacpp/*",),
        base_url="http://localhost:8080/v1",
        profile=LLAMA_CPP,
        tested="real server",
    ),
    Provider(
        name="runpod",
        patterns=("runpod/*",),
        base_url="https://{pod}-8000.proxy.runpod.net/v1",
        credential_env=("RUNPOD_API_KEY",),
    ),
)
# It speaks the Responses API since it ended chat completions (September 2026); its own model has its prefix there.
PERPLEXITY = Provider(
    name="perplexity",
    patterns=("perplexity/*", "sonar"),
    base_url="https://api.perplexity.ai/v1",
    codec="openai_responses",
    credential_env=("PERPLEXITY_API_KEY", "PERPLEXITYAI_API_KEY", "PPLX_API_KEY"),
    renamed={"sonar": "perplexity/sonar"},
)
# Whatever nobody else takes, through the optional litellm library.
LITELLM = Provider(name="litellm", patterns=("litellm/*", "*"), transport="litellm")

CLOUDS = (AZURE, VERTEX, BEDROCK_CLAUDE, BEDROCK)
PROVIDERS: tuple[Provider, ...] = (
    *(CLAUDE_PROXY, LOCAL, OPENAI, RESPONSES, ANTHROPIC, GEMINI, *CLOUDS),
    *(*COMPATIBLE, PERPLEXITY, LITELLM),
)
