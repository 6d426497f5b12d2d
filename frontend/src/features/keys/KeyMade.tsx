/** The one moment a secret is seen: copy it, paste a first call, try it. */
import { Button, Group, Select, Stack, Tabs, Text } from "@mantine/core";
import { Send } from "lucide-react";
import { useState } from "react";
import { readProblem } from "@/api/problem";
import { formatMs } from "@/lib/format";
import { useSession } from "@/lib/session";
import { SNIPPETS, snippetOf } from "@/lib/snippets";
import { CodeBlock } from "@/ui/Copy";
import { SecretReveal } from "@/ui/SecretReveal";
import { Failed } from "@/ui/states";
import { type KeyCreated, useModels } from "./queries";

const SIMULATED = "simulated";

export function KeyMade({ made, onDone }: { made: KeyCreated; onDone: () => void }) {
  const { base_url } = useSession();
  const models = useModels(made.environment === "live");
  const names = models.data?.data.map((model) => model.name) ?? [];
  const [chosen, setChosen] = useState<string | null>(null);
  const model = chosen ?? names[0] ?? SIMULATED;
  return (
    <Stack>
      <SecretReveal secret={made.key} what="key" />
      {names.length > 1 && (
        <Select
          label="Model of the examples"
          searchable
          allowDeselect={false}
          data={names}
          value={model}
          onChange={setChosen}
        />
      )}
      <Tabs defaultValue={SNIPPETS[0]}>
        <Tabs.List>
          {SNIPPETS.map((kind) => (
            <Tabs.Tab key={kind} value={kind}>
              {kind}
            </Tabs.Tab>
          ))}
        </Tabs.List>
        {SNIPPETS.map((kind) => (
          <Tabs.Panel key={kind} value={kind} pt="sm">
            <CodeBlock code={snippetOf(kind, base_url, made.key, model)} what={`${kind} example`} />
          </Tabs.Panel>
        ))}
      </Tabs>
      {made.scopes.includes("inference") && <TestKey secret={made.key} model={model} />}
      <Group justify="flex-end">
        <Button onClick={onDone}>I have kept it</Button>
      </Group>
    </Stack>
  );
}

/** A first call with the key itself, not with the reader's session. */
function TestKey({ secret, model }: { secret: string; model: string }) {
  const [answer, setAnswer] = useState<{ text: string; ms: number } | null>(null);
  const [error, setError] = useState<unknown>(null);
  const [isBusy, setBusy] = useState(false);
  const test = async () => {
    setBusy(true);
    setError(null);
    setAnswer(null);
    const started = performance.now();
    try {
      const response = await fetch("/v1/chat/completions", {
        method: "POST",
        credentials: "omit",
        headers: { authorization: `Bearer ${secret}`, "content-type": "application/json" },
        body: JSON.stringify({
          model,
          max_tokens: 32,
          messages: [{ role: "user", content: "Say hello in one word." }],
        }),
      });
      if (!response.ok) throw await readProblem(response);
      const body = (await response.json()) as { choices?: { message?: { content?: string } }[] };
      setAnswer({ text: body.choices?.[0]?.message?.content ?? "", ms: performance.now() - started });
    } catch (problem) {
      setError(problem);
    } finally {
      setBusy(false);
    }
  };
  return (
    <Stack gap="xs">
      <Group>
        <Button
          variant="default"
          leftSection={<Send size={16} aria-hidden />}
          loading={isBusy}
          onClick={() => void test()}
        >
          Test this key
        </Button>
        {answer && (
          <Text size="sm" role="status">
            {model} answered in {formatMs(answer.ms)}: “{answer.text.slice(0, 200)}”
          </Text>
        )}
      </Group>
      {error !== null && <Failed error={error} />}
    </Stack>
  );
}
