"""The vendors that speak OpenAI's format, one row each. URLs and variables are those of the vendors' own references
(looked up 2026-11); a row says only what differs from OpenAI's behaviour.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from tollkeeper.contracts.chat import Operation

# Fields that only OpenAI gives a meaning to; elsewhere they are dropped and reported, because strict vendors refuse them.
OPENAI_ONLY: Final = frozenset(
    {
        "audio",
        "metadata",
        "modalities",
        "moderation",
        "prediction",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "store",
        "verbosity",
        "web_search_options",
    }
)
_NO_LOGPROBS: Final = OPENAI_ONLY | {"logit_bias", "logprobs", "top_logprobs"}


# What a row `offers` beside chat was looked up in the references of Fireworks, Nebius, Novita, OpenRouter, Scaleway,
# Together and Venice (2026-11); of the others it is what was known without. A call for what a row lacks is refused here.
_LISTENING: Final = frozenset({Operation.TRANSCRIPTIONS, Operation.TRANSLATIONS})
_AUDIO: Final = _LISTENING | {Operation.SPEECH}
_DRAWING: Final = frozenset({Operation.IMAGE_GENERATIONS})
_IMAGES: Final = _DRAWING | {Operation.IMAGE_EDITS, Operation.IMAGE_VARIATIONS}
_RANKING: Final = frozenset({Operation.RERANK})
_MODERATING: Final = frozenset({Operation.MODERATIONS})
_ALL: Final = _MODERATING | _IMAGES | _AUDIO | _RANKING


@dataclass(frozen=True, slots=True)
class Vendor:
    """`max_tokens_field`: the only name of the output cap the vendor knows; None: both, or it depends on the model."""

    kind: str
    title: str
    base_url: str | None = None
    env_var: str | None = None
    needs_credential: bool = True
    max_tokens_field: str | None = "max_tokens"
    # Where that is None: the name in calls that came in another dialect, whose callers chose neither; None: the newer.
    foreign_cap: str | None = None
    supports_stream_usage: bool = True
    drops: frozenset[str] = OPENAI_ONLY
    # Extensions of the canonical form that it understands in calls translated from another dialect (`plain_chat`).
    keeps: frozenset[str] = frozenset()
    # The names by which it takes back what its models thought; none: as the caller has it.
    reasoning_fields: tuple[str, ...] = ()
    has_embeddings: bool = True
    has_completions: bool = True
    # What it has beside these, in OpenAI's shape and below the same address.
    offers: frozenset[Operation] = frozenset()
    # Where it has one of these somewhere else: the path from the root of its host.
    root_paths: Mapping[Operation, str] = field(default_factory=lambda: MappingProxyType({}))
    # Embeddings: whether token arrays mean the same there, and whether base64 is understood.
    takes_tokens: bool = False
    embeds_base64: bool = False
    # What it keeps of prompts is kept apart by a `cache_salt` (vLLM, "Automatic Prefix Caching", 2026-08).
    takes_salt: bool = False
    auth_header: str = "authorization"
    auth_scheme: str = "Bearer "
    # Whether closing a stream ends the billing (per OpenRouter's published list); unknown counts as no.
    cancel_stops_billing: bool = False
    # How the names of the models begin that show all they are billed for; None: all of them do. Matters where closing
    # ends the billing.
    shows_output: tuple[str, ...] | None = None
    # Parts of such names that make an exception.
    hides_output: tuple[str, ...] = ()
    # The Responses API, for calls that came in it; how the names of models begin that are served there alone.
    has_responses: bool = False
    # Fine-tuning jobs and the files for them, in OpenAI's form.
    has_fine_tuning: bool = False
    responses_only: tuple[str, ...] = ()
    # Parts of the names of models that are served over chat/completions alone.
    chat_only: tuple[str, ...] = ()
    # How the names of models begin whose reasoning is handed out there, encrypted, to be sent back; the parts of such
    # names that make an exception.
    encrypts_reasoning: tuple[str, ...] = ()
    keeps_reasoning: tuple[str, ...] = ()

    def has(self, operation: Operation) -> bool:
        if operation is Operation.CHAT:
            return True
        if operation is Operation.EMBEDDINGS:
            return self.has_embeddings
        return self.has_completions if operation is Operation.COMPLETIONS else operation in self.offers

    def shows(self, model: str) -> bool:
        """Whether all that the vendor bills as output of this model can be seen in its answer."""
        if self.shows_output is None:
            return True
        return model.startswith(self.shows_output) and not any(part in model for part in self.hides_output)

    def hands_out_reasoning(self, model: str) -> bool:
        """Whether reasoning may be asked for in its encrypted form; others refuse the question."""
        return model.startswith(self.encrypts_reasoning) and not any(part in model for part in self.keeps_reasoning)


_NOTHING: Final[frozenset[str]] = frozenset()
_OF_LOCAL_SERVERS: Final = frozenset({"top_k", "reasoning_content"})
_REASONING: Final = frozenset({"reasoning_content"})


def _local(
    kind: str,
    title: str,
    port: int,
    *,
    embeds_base64: bool = False,
    takes_tokens: bool = False,
    takes_salt: bool = False,
    offers: frozenset[Operation] = frozenset(),
    reasoning_fields: tuple[str, ...] = (),
    max_tokens_field: str | None = None,
    foreign_cap: str | None = None,
) -> Vendor:
    """A server on the operator's own machine: no credential, nothing dropped, closing the connection stops the work."""
    return Vendor(
        kind,
        title,
        f"http://127.0.0.1:{port}/v1",
        needs_credential=False,
        max_tokens_field=max_tokens_field,
        foreign_cap=foreign_cap,
        drops=_NOTHING,
        keeps=_OF_LOCAL_SERVERS,
        embeds_base64=embeds_base64,
        reasoning_fields=reasoning_fields,
        takes_tokens=takes_tokens,
        takes_salt=takes_salt,
        cancel_stops_billing=True,
        offers=offers,
    )


VENDORS: Final[tuple[Vendor, ...]] = (
    Vendor(
        "openai",
        "OpenAI",
        "https://api.openai.com/v1",
        "OPENAI_API_KEY",
        has_fine_tuning=True,
        # Reasoning models refuse max_tokens; every chat model takes the newer name.
        max_tokens_field="max_completion_tokens",
        drops=_NOTHING,
        takes_tokens=True,
        embeds_base64=True,
        cancel_stops_billing=True,
        # The others reason, and show nothing of it ("Reasoning models", OpenAI's guide, 2026-08).
        shows_output=("gpt-4", "gpt-3.5", "gpt-5-chat", "chatgpt-4o", "ft:gpt-4", "ft:gpt-3.5", "davinci", "babbage"),
        hides_output=("audio", "realtime", "search", "transcribe"),
        has_responses=True,
        responses_only=(
            "o1-pro",
            "o3-pro",
            "o3-deep-research",
            "o4-mini-deep-research",
            "codex-",
            "computer-use-",
            "gpt-5-pro",
            "gpt-5-codex",
            "gpt-5.1-codex",
            "gpt-5.2-codex",
            "gpt-5.2-pro",
            "gpt-5.3-codex",
            "gpt-5.4-pro",
            "gpt-5.5-pro",
        ),
        chat_only=("-audio", "-search-preview"),
        # "Encrypted content is not supported with this model", say the others.
        encrypts_reasoning=("o1", "o3", "o4", "codex", "gpt-5", "gpt-6"),
        keeps_reasoning=("chat", "search", "audio", "deep-research"),
        offers=_MODERATING | _IMAGES | _AUDIO,
    ),
    Vendor(
        "xai",
        "xAI",
        "https://api.x.ai/v1",
        "XAI_API_KEY",
        max_tokens_field=None,
        cancel_stops_billing=True,
        shows_output=("grok-2", "grok-3", "grok-4-fast-non-reasoning", "grok-4-1-fast-non-reasoning"),
        hides_output=("mini", "image"),
        has_responses=True,
        encrypts_reasoning=("grok-4",),
        keeps_reasoning=("non-reasoning",),
        offers=_DRAWING,
    ),
    Vendor(
        "groq",
        "Groq",
        "https://api.groq.com/openai/v1",
        "GROQ_API_KEY",
        max_tokens_field=None,
        drops=_NO_LOGPROBS - {"service_tier"},
        has_embeddings=False,
        has_completions=False,
        offers=_AUDIO,
    ),
    Vendor(
        "mistral",
        "Mistral AI",
        "https://api.mistral.ai/v1",
        "MISTRAL_API_KEY",
        supports_stream_usage=False,  # sends it unasked, refuses unknown fields
        drops=_NO_LOGPROBS | {"user"},
        has_completions=False,
        offers=_MODERATING | {Operation.TRANSCRIPTIONS},
    ),
    Vendor(
        "deepseek",
        "DeepSeek",
        "https://api.deepseek.com/v1",
        "DEEPSEEK_API_KEY",
        keeps=_REASONING,
        reasoning_fields=("reasoning_content",),
        has_embeddings=False,
        has_completions=False,
        cancel_stops_billing=True,
    ),
    Vendor(
        "openrouter",
        "OpenRouter",
        "https://openrouter.ai/api/v1",
        "OPENROUTER_API_KEY",
        max_tokens_field=None,
        drops=_NOTHING,
        offers=_RANKING,
    ),
    Vendor(
        "together",
        "Together AI",
        "https://api.together.xyz/v1",
        "TOGETHER_API_KEY",
        cancel_stops_billing=True,
        offers=_DRAWING | _AUDIO | _RANKING,
    ),
    Vendor(
        "fireworks",
        "Fireworks AI",
        "https://api.fireworks.ai/inference/v1",
        "FIREWORKS_API_KEY",
        max_tokens_field=None,
        cancel_stops_billing=True,
        has_responses=True,
        offers=_RANKING,
    ),
    # It ignores the newer name in silence (ollama/ollama#7125, 2026-08).
    _local("ollama", "Ollama", 11434, max_tokens_field="max_tokens"),
    _local(
        "vllm",
        "vLLM",
        8000,
        embeds_base64=True,
        takes_tokens=True,
        takes_salt=True,
        offers=_LISTENING | _RANKING,
        # It reads the newer name alone, its older versions the older one (vllm#38488).
        reasoning_fields=("reasoning", "reasoning_content"),
    ),
    _local("llamacpp", "llama.cpp", 8080, embeds_base64=True, offers=_RANKING),
    # The older name stands alone among the parameters of its Chat Completions (LM Studio's documentation, 2026-11).
    _local("lmstudio", "LM Studio", 1234, foreign_cap="max_tokens"),
    _local("localai", "LocalAI", 8080, offers=_DRAWING | _RANKING | {Operation.SPEECH, Operation.TRANSCRIPTIONS}),
    _local("sglang", "SGLang", 30000, offers=_RANKING),
    # It does not know the newer name (text-generation-inference#2844, #2925).
    _local("tgi", "Text Generation Inference", 3000, foreign_cap="max_tokens"),
    _local("jan", "Jan", 1337, foreign_cap="max_tokens"),
    Vendor(
        "cerebras",
        "Cerebras",
        "https://api.cerebras.ai/v1",
        "CEREBRAS_API_KEY",
        max_tokens_field=None,
        drops=OPENAI_ONLY | {"logit_bias", "frequency_penalty", "presence_penalty"},
        has_embeddings=False,
    ),
    Vendor(
        "perplexity",
        "Perplexity",
        "https://api.perplexity.ai",
        "PERPLEXITY_API_KEY",
        supports_stream_usage=False,  # counts in every chunk unasked
        drops=_NO_LOGPROBS - {"web_search_options"},
        has_embeddings=False,
        has_completions=False,
    ),
    Vendor("sambanova", "SambaNova", "https://api.sambanova.ai/v1", "SAMBANOVA_API_KEY", drops=_NO_LOGPROBS),
    Vendor(
        "nebius", "Nebius Token Factory", "https://api.tokenfactory.nebius.com/v1", "NEBIUS_API_KEY", offers=_DRAWING
    ),
    Vendor(
        "deepinfra", "DeepInfra", "https://api.deepinfra.com/v1/openai", "DEEPINFRA_API_KEY", offers=_DRAWING | _AUDIO
    ),
    Vendor("hyperbolic", "Hyperbolic", "https://api.hyperbolic.xyz/v1", "HYPERBOLIC_API_KEY", has_embeddings=False),
    Vendor("novita", "Novita AI", "https://api.novita.ai/openai/v1", "NOVITA_API_KEY", offers=_RANKING),
    Vendor(
        "moonshot",
        "Moonshot AI",
        "https://api.moonshot.ai/v1",
        "MOONSHOT_API_KEY",
        keeps=_REASONING,
        reasoning_fields=("reasoning_content",),
        has_embeddings=False,
    ),
    Vendor(
        "zai",
        "Z.ai",
        "https://api.z.ai/api/paas/v4",
        "ZAI_API_KEY",
        keeps=_REASONING,
        reasoning_fields=("reasoning_content",),
        has_completions=False,
        offers=_DRAWING,
    ),
    Vendor(
        "zhipu",
        "Zhipu",
        "https://open.bigmodel.cn/api/paas/v4",
        "ZHIPUAI_API_KEY",
        keeps=_REASONING,
        reasoning_fields=("reasoning_content",),
        has_completions=False,
        offers=_DRAWING,
    ),
    Vendor(
        "dashscope",
        "Qwen (DashScope)",
        "https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        "DASHSCOPE_API_KEY",
    ),
    Vendor("minimax", "MiniMax", "https://api.minimax.io/v1", "MINIMAX_API_KEY", has_embeddings=False),
    Vendor("stepfun", "StepFun", "https://api.stepfun.com/v1", "STEPFUN_API_KEY", has_embeddings=False),
    Vendor("volcengine", "Volcengine Ark", "https://ark.cn-beijing.volces.com/api/v3", "ARK_API_KEY"),
    Vendor("hunyuan", "Tencent Hunyuan", "https://api.hunyuan.cloud.tencent.com/v1", "HUNYUAN_API_KEY"),
    Vendor("qianfan", "Baidu Qianfan", "https://qianfan.baidubce.com/v2", "QIANFAN_API_KEY"),
    Vendor("baseten", "Baseten", "https://inference.baseten.co/v1", "BASETEN_API_KEY", has_embeddings=False),
    Vendor("huggingface", "Hugging Face", "https://router.huggingface.co/v1", "HF_TOKEN", has_embeddings=False),
    Vendor("nvidia", "NVIDIA NIM", "https://integrate.api.nvidia.com/v1", "NVIDIA_API_KEY"),
    Vendor(
        "github",
        "GitHub Models",
        "https://models.github.ai/inference",
        "GITHUB_MODELS_TOKEN",
        max_tokens_field=None,
        takes_tokens=True,
        embeds_base64=True,
        has_completions=False,
    ),
    Vendor(
        "scaleway",
        "Scaleway",
        "https://api.scaleway.ai/v1",
        "SCW_SECRET_KEY",
        offers=frozenset({Operation.TRANSCRIPTIONS}),
    ),
    Vendor(
        "ovhcloud",
        "OVHcloud AI Endpoints",
        "https://oai.endpoints.kepler.ai.cloud.ovh.net/v1",
        "OVH_AI_ENDPOINTS_ACCESS_TOKEN",
    ),
    Vendor(
        "siliconflow",
        "SiliconFlow",
        "https://api.siliconflow.com/v1",
        "SILICONFLOW_API_KEY",
        offers=_DRAWING | _RANKING | {Operation.SPEECH, Operation.TRANSCRIPTIONS},
    ),
    Vendor(
        "ai21",
        "AI21",
        "https://api.ai21.com/studio/v1",
        "AI21_API_KEY",
        supports_stream_usage=False,
        drops=_NO_LOGPROBS,
        has_embeddings=False,
        has_completions=False,
    ),
    Vendor(
        "cohere",
        "Cohere",
        "https://api.cohere.ai/compatibility/v1",
        "COHERE_API_KEY",
        has_completions=False,
        offers=_RANKING,
        root_paths=MappingProxyType({Operation.RERANK: "/v2/rerank"}),
    ),
    Vendor("upstage", "Upstage", "https://api.upstage.ai/v1", "UPSTAGE_API_KEY", has_completions=False),
    Vendor("friendli", "Friendli", "https://api.friendli.ai/serverless/v1", "FRIENDLI_TOKEN", has_embeddings=False),
    Vendor("featherless", "Featherless", "https://api.featherless.ai/v1", "FEATHERLESS_API_KEY", has_embeddings=False),
    Vendor("inference_net", "Inference.net", "https://api.inference.net/v1", "INFERENCE_API_KEY"),
    Vendor("parasail", "Parasail", "https://api.parasail.io/v1", "PARASAIL_API_KEY"),
    Vendor("chutes", "Chutes", "https://llm.chutes.ai/v1", "CHUTES_API_KEY", has_embeddings=False),
    Vendor("nscale", "Nscale", "https://inference.api.nscale.com/v1", "NSCALE_API_KEY"),
    Vendor(
        "venice",
        "Venice AI",
        "https://api.venice.ai/api/v1",
        "VENICE_API_KEY",
        offers=_DRAWING | {Operation.SPEECH, Operation.TRANSCRIPTIONS},
    ),
    Vendor("inception", "Inception", "https://api.inceptionlabs.ai/v1", "INCEPTION_API_KEY", has_embeddings=False),
    Vendor("ionos", "IONOS", "https://openai.inference.de-txl.ionos.com/v1", "IONOS_API_TOKEN"),
    Vendor("wandb", "W&B Inference", "https://api.inference.wandb.ai/v1", "WANDB_API_KEY", has_embeddings=False),
    Vendor("digitalocean", "DigitalOcean", "https://inference.do-ai.run/v1", "DIGITALOCEAN_INFERENCE_KEY"),
    Vendor(
        "vercel",
        "Vercel AI Gateway",
        "https://ai-gateway.vercel.sh/v1",
        "AI_GATEWAY_API_KEY",
        max_tokens_field=None,
        drops=_NOTHING,
        has_completions=False,
        has_responses=True,
    ),
    # The account or workspace is part of these URLs, so the operator gives them.
    Vendor("cloudflare", "Cloudflare Workers AI"),
    Vendor("databricks", "Databricks"),
    Vendor(
        "openai_compatible",
        "Any OpenAI-compatible server",
        has_fine_tuning=True,
        needs_credential=False,
        max_tokens_field=None,
        # Whatever it is: the older name is known wherever both are not.
        foreign_cap="max_tokens",
        drops=_NOTHING,
        keeps=_OF_LOCAL_SERVERS,
        takes_tokens=True,
        embeds_base64=True,
        offers=_ALL,
    ),
)
