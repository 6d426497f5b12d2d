/** One model's half: its parameters, its answer as it streams, what it took and cost, and the call as code. */
import { Anchor, Button, Code, Group, JsonInput, NumberInput, Paper, Select, Stack, Tabs, Text } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import { Square } from "lucide-react";
import { useEffect, useRef, useState } from "react";
import { formatCount, formatMs, formatUsd } from "@/lib/format";
import { useMay, useSession } from "@/lib/session";
import { CodeBlock } from "@/ui/Copy";
import { Failed } from "@/ui/states";
import { codeOf, type Tongue } from "./code";
import { bodyOf, NOT_RUN, type Prompt, type Run, stream } from "./run";

const TONGUES: Tongue[] = ["curl", "Python", "JavaScript"];

export function Pane({
  place,
  models,
  model,
  onModel,
  system,
  user,
  keyId,
  runs,
}: {
  /** From the left, counted from 1. */
  place: number;
  models: string[];
  model: string;
  onModel: (model: string) => void;
  system: string;
  user: string;
  keyId: string;
  /** How often the reader has said "Run". */
  runs: number;
}) {
  const [temperature, setTemperature] = useState<number | "">("");
  const [maxTokens, setMaxTokens] = useState<number | "">(256);
  const [schema, setSchema] = useState("");
  const [tools, setTools] = useState("");
  const [run, setRun] = useState<Run>(NOT_RUN);
  const [error, setError] = useState<unknown>(null);
  const [isRunning, setRunning] = useState(false);
  const abort = useRef<AbortController | null>(null);
  const prompt: Prompt = { model, system, user, temperature, maxTokens, schema, tools };
  const latest = useRef({ prompt, keyId });
  useEffect(() => {
    latest.current = { prompt, keyId };
  });

  useEffect(() => {
    if (runs === 0) return;
    const control = new AbortController();
    abort.current = control;
    setRun(NOT_RUN);
    setError(null);
    setRunning(true);
    stream(latest.current.prompt, latest.current.keyId, control.signal, setRun)
      .catch((problem: unknown) => {
        if (!control.signal.aborted) setError(problem);
      })
      .finally(() => {
        if (abort.current === control) setRunning(false);
      });
    return () => control.abort();
  }, [runs]);

  return (
    <Paper withBorder p="md" component="section" aria-label={`Answer ${place}, of ${model}`}>
      <Stack gap="sm">
        <Group align="flex-end" gap="xs">
          <Select
            label="Model"
            size="xs"
            searchable
            allowDeselect={false}
            data={models}
            value={model}
            onChange={(one) => one && onModel(one)}
          />
          <NumberInput
            label="Temperature"
            size="xs"
            w={110}
            min={0}
            max={2}
            step={0.1}
            value={temperature}
            onChange={(value) => setTemperature(typeof value === "number" ? value : "")}
          />
          <NumberInput
            label="At most, tokens"
            size="xs"
            w={120}
            min={1}
            allowDecimal={false}
            value={maxTokens}
            onChange={(value) => setMaxTokens(typeof value === "number" ? value : "")}
          />
          {isRunning && (
            <Button
              size="xs"
              variant="default"
              leftSection={<Square size={14} aria-hidden />}
              onClick={() => {
                abort.current?.abort();
                setRunning(false);
              }}
            >
              Stop
            </Button>
          )}
        </Group>
        <Tabs defaultValue="answer" keepMounted={false}>
          <Tabs.List>
            <Tabs.Tab value="answer">Answer</Tabs.Tab>
            <Tabs.Tab value="schema">JSON schema</Tabs.Tab>
            <Tabs.Tab value="tools">Tools</Tabs.Tab>
            <Tabs.Tab value="code">Code</Tabs.Tab>
          </Tabs.List>
          <Tabs.Panel value="answer" pt="sm">
            <Answer run={run} error={error} isRunning={isRunning} />
          </Tabs.Panel>
          <Tabs.Panel value="schema" pt="sm">
            <JsonInput
              label="The answer must fit this JSON schema"
              placeholder='{"type": "object", "properties": {}, "additionalProperties": false}'
              validationError="This is no JSON."
              autosize
              minRows={5}
              maxRows={16}
              value={schema}
              onChange={setSchema}
            />
          </Tabs.Panel>
          <Tabs.Panel value="tools" pt="sm">
            <JsonInput
              label="Tools on offer, as a JSON list"
              placeholder='[{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]'
              validationError="This is no JSON."
              autosize
              minRows={5}
              maxRows={16}
              value={tools}
              onChange={setTools}
            />
          </Tabs.Panel>
          <Tabs.Panel value="code" pt="sm">
            <Call prompt={prompt} />
          </Tabs.Panel>
        </Tabs>
      </Stack>
    </Paper>
  );
}

function Answer({ run, error, isRunning }: { run: Run; error: unknown; isRunning: boolean }) {
  const may = useMay();
  if (error !== null) {
    const words = error instanceof SyntaxError ? new Error("The JSON schema or the tools are no JSON.") : error;
    return <Failed error={words} />;
  }
  return (
    <Stack gap="xs" aria-live="polite" aria-busy={isRunning}>
      <Text size="sm" style={{ whiteSpace: "pre-wrap", overflowWrap: "anywhere" }} mih={60}>
        {run.text}
      </Text>
      {run.toolCalls && (
        <Code block tabIndex={0} style={{ whiteSpace: "pre-wrap" }}>
          {run.toolCalls}
        </Code>
      )}
      <Group gap="md">
        <Figure name="First token" value={formatMs(run.firstTokenMs)} />
        <Figure name="In all" value={formatMs(run.ms)} />
        <Figure name="Tokens" value={`${formatCount(run.promptTokens)} in, ${formatCount(run.completionTokens)} out`} />
        <Figure name="Cost" value={formatUsd(run.costUsd)} />
        {run.cache && <Figure name="Cache" value={run.cache} />}
        {run.finish && <Figure name="Ended" value={run.finish} />}
      </Group>
      {run.requestId && may("requests:view") && (
        <Anchor
          component={Link}
          size="sm"
          underline="always"
          {...({ to: "/requests", search: { open: run.requestId } } as object)}
        >
          Its story
        </Anchor>
      )}
    </Stack>
  );
}

function Figure({ name, value }: { name: string; value: string }) {
  return (
    <div>
      <Text size="xs" c="var(--tk-faint)">
        {name}
      </Text>
      <Text size="sm" fw={600}>
        {value}
      </Text>
    </div>
  );
}

function Call({ prompt }: { prompt: Prompt }) {
  const { base_url } = useSession();
  const [tongue, setTongue] = useState<Tongue>("curl");
  let code: string;
  try {
    code = codeOf(tongue, bodyOf(prompt), base_url);
  } catch {
    code = "The JSON schema or the tools are no JSON.";
  }
  return (
    <Stack gap="xs">
      <Select
        label="As"
        size="xs"
        allowDeselect={false}
        data={TONGUES}
        value={tongue}
        onChange={(one) => one && setTongue(one as Tongue)}
        maw={160}
      />
      <CodeBlock code={code} />
    </Stack>
  );
}
