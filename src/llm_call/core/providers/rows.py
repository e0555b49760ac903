"""The rows. Adding a provider that speaks a known dialect is one row; every list of providers is made from them.

Base URLs are those that the vendors document. No key of theirs was at hand: what is tested is that each request goes
there in its dialect, with its key, under its model's name.
"""

from msgspec.structs import replace

from llm_call.core.domain.profile import Profile
from llm_call.core.providers.registry import DEFAULT_PROXY_URL, Provider
from llm_call.core.transport.model_file import PACKAGED_MODEL, model_name

# JSON Schema keywords that llama.cpp's grammar passes over in silence (its release of October 2026). Each was
# tried but `maxContains`, which is taken to go with `contains`.
LLAMA_CPP_IGNORES = (
    *("not", "if", "then", "else", "contains", "minContains", "maxContains"),
    *("uniqueItems", "unevaluatedItems", "patternProperties", "propertyNames", "minProperties", "maxProperties"),
    *("dependentRequired", "dependentSchemas", "unevaluatedProperties", "multipleOf"),
)

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
LOCAL = Provider(
    name="local",
    patterns=("local/*",),
    base_url="in-process",
    transport="local",
    models=(PACKAGED_MODEL,),
    default_model=PACKAGED_MODEL,
    profile=Profile(
        stream_only=True,
        media=(),
        schema_hint="fields",
        unenforced_keywords=LLAMA_CPP_IGNORES,
        string_limit=200,
    ),
)


def local_provider(model_path: str) -> Provider:
    """The row of the embedded model for another file than the packaged one."""
    name = model_name(model_path)
    return replace(LOCAL, models=(name,), default_model=name)


OPENAI = Provider(
    name="openai",
    patterns=("openai/*", "gpt-*", "chatgpt-*", "o1*", "o3*", "o4*"),
    base_url="https://api.openai.com/v1",
    credential_env="OPENAI_API_KEY",
    default_model="gpt-4o-mini",
    profile=Profile(output_limit_field="max_completion_tokens", schema_rule="strict"),
)
ANTHROPIC = Provider(
    name="anthropic",
    patterns=("anthropic/*", "claude-*"),
    base_url="https://api.anthropic.com/v1",
    codec="anthropic_messages",
    auth="x-api-key",
    credential_env="ANTHROPIC_API_KEY",
    default_model="claude-haiku-5-5",
    profile=Profile(schema_rule="closed", unenforced_keywords=ANTHROPIC_LEAVES_OUT),
)
GEMINI = Provider(
    name="gemini",
    patterns=("gemini/*", "gemini-*"),
    base_url="https://generativelanguage.googleapis.com/v1beta",
    codec="gemini",
    auth="x-goog-api-key",
    credential_env="GEMINI_API_KEY",
    default_model="gemini-flash-latest",
)
# Hosts that speak the OpenAI chat dialect.
COMPATIBLE = (
    Provider(
        name="mistral",
        patterns=("mistral/*",),
        base_url="https://api.mistral.ai/v1",
        credential_env="MISTRAL_API_KEY",
    ),
    Provider(
        name="groq",
        patterns=("groq/*",),
        base_url="https://api.groq.com/openai/v1",
        credential_env="GROQ_API_KEY",
    ),
    Provider(
        name="together",
        patterns=("together/*",),
        base_url="https://api.together.xyz/v1",
        credential_env="TOGETHER_API_KEY",
    ),
    Provider(
        name="fireworks",
        patterns=("fireworks/*",),
        base_url="https://api.fireworks.ai/inference/v1",
        credential_env="FIREWORKS_API_KEY",
    ),
    Provider(
        name="deepseek",
        patterns=("deepseek/*",),
        base_url="https://api.deepseek.com/v1",
        credential_env="DEEPSEEK_API_KEY",
    ),
    Provider(
        name="xai",
        patterns=("xai/*",),
        base_url="https://api.x.ai/v1",
        credential_env="XAI_API_KEY",
    ),
    Provider(
        name="openrouter",
        patterns=("openrouter/*",),
        base_url="https://openrouter.ai/api/v1",
        credential_env="OPENROUTER_API_KEY",
        profile=Profile(cache_markers=True),
    ),
    Provider(
        name="perplexity",
        patterns=("perplexity/*",),
        base_url="https://api.perplexity.ai",
        credential_env="PERPLEXITY_API_KEY",
    ),
    Provider(
        name="cohere",
        patterns=("cohere/*",),
        base_url="https://api.cohere.ai/compatibility/v1",
        credential_env="COHERE_API_KEY",
    ),
    Provider(
        name="cerebras",
        patterns=("cerebras/*",),
        base_url="https://api.cerebras.ai/v1",
        credential_env="CEREBRAS_API_KEY",
    ),
    Provider(
        name="sambanova",
        patterns=("sambanova/*",),
        base_url="https://api.sambanova.ai/v1",
        credential_env="SAMBANOVA_API_KEY",
    ),
    Provider(
        name="nvidia",
        patterns=("nvidia/*",),
        base_url="https://integrate.api.nvidia.com/v1",
        credential_env="NVIDIA_API_KEY",
    ),
    Provider(
        name="huggingface",
        patterns=("huggingface/*",),
        base_url="https://router.huggingface.co/v1",
        credential_env="HF_TOKEN",
    ),
    Provider(
        name="github",
        patterns=("github/*",),
        base_url="https://models.github.ai/inference",
        credential_env="GITHUB_TOKEN",
    ),
    Provider(
        name="moonshot",
        patterns=("moonshot/*",),
        base_url="https://api.moonshot.ai/v1",
        credential_env="MOONSHOT_API_KEY",
    ),
    Provider(
        name="qwen",
        patterns=("qwen/*",),
        base_url="https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        credential_env="DASHSCOPE_API_KEY",
    ),
    Provider(
        name="zhipu",
        patterns=("zhipu/*",),
        base_url="https://open.bigmodel.cn/api/paas/v4",
        credential_env="ZHIPU_API_KEY",
    ),
    Provider(
        name="ollama",
        patterns=("ollama/*",),
        base_url="http://localhost:11434/v1",
    ),
    Provider(
        name="lmstudio",
        patterns=("lmstudio/*",),
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
    ),
    # Names are runpod, the pod, the model.
    Provider(
        name="runpod",
        patterns=("runpod/*",),
        base_url="https://{}-8000.proxy.runpod.net/v1",
        credential_env="RUNPOD_API_KEY",
    ),
)
# Whatever nobody else takes. It has no row of its own yet: calling it is an error that says so.
LITELLM = Provider(name="litellm", patterns=("*",))

PROVIDERS: tuple[Provider, ...] = (CLAUDE_PROXY, LOCAL, OPENAI, ANTHROPIC, GEMINI, *COMPATIBLE, LITELLM)
