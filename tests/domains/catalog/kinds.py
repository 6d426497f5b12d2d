"""Provider kinds as wiring would hand them over, for tests that need no gateway."""

from tollkeeper.contracts.catalog import ProviderKind
from tollkeeper.contracts.cloud import DocumentFamily

KINDS = (
    ProviderKind("openai", "OpenAI", "https://api.openai.com/v1", env_var="OPENAI_API_KEY"),
    ProviderKind("groq", "Groq", "https://api.groq.com/openai/v1", env_var="GROQ_API_KEY"),
    ProviderKind("azure", "Azure OpenAI", needs_base_url=True, document=DocumentFamily.ENTRA),
    ProviderKind("bedrock", "Amazon Bedrock", needs_base_url=True, document=DocumentFamily.AWS),
    ProviderKind("vertex", "Google Vertex AI", needs_base_url=True, document=DocumentFamily.GOOGLE),
    ProviderKind("openai_compatible", "OpenAI-compatible", needs_base_url=True, needs_credential=False),
    ProviderKind("simulated", "Simulated", needs_credential=False),
)
