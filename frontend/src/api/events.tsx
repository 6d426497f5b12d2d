/**
 * One stream of events for the whole app, whatever pages listen: browsers open six connections to an origin at most.
 *
 * It is open while somebody listens and the tab is seen, and begins again after a fault, ever more slowly.
 */
import type { EventSourceMessage } from "eventsource-parser";
import { createContext, type ReactNode, useContext, useEffect, useMemo, useRef, useState } from "react";
import { send } from "./client";

export type Topic = "requests";
export type StreamState = "off" | "connecting" | "live" | "lost";
type Listener = (data: unknown) => void;

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 15_000;

class Stream {
  private readonly listeners = new Map<Topic, Set<Listener>>();
  private abort: AbortController | null = null;

  constructor(private readonly onState: (state: StreamState) => void) {}

  add(topic: Topic, listener: Listener): () => void {
    const known = this.listeners.get(topic) ?? new Set();
    this.listeners.set(topic, known.add(listener));
    if (known.size === 1) this.restart();
    return () => {
      known.delete(listener);
      if (known.size === 0) {
        this.listeners.delete(topic);
        this.restart();
      }
    };
  }

  restart(): void {
    this.abort?.abort();
    this.abort = null;
    if (this.listeners.size === 0 || document.hidden) {
      this.onState("off");
      return;
    }
    this.abort = new AbortController();
    void this.run([...this.listeners.keys()].sort(), this.abort.signal);
  }

  stop(): void {
    this.abort?.abort();
    this.abort = null;
  }

  private async run(topics: Topic[], signal: AbortSignal): Promise<void> {
    let pause = FIRST_PAUSE_MS;
    while (!signal.aborted) {
      this.onState("connecting");
      try {
        const url = `${location.origin}/api/v1/events?${new URLSearchParams(topics.map((topic) => ["topics", topic]))}`;
        const headers = { accept: "text/event-stream" };
        const response = await send(
          new Request(url, { headers, credentials: "same-origin", cache: "no-store", signal }),
        );
        this.onState("live");
        pause = FIRST_PAUSE_MS;
        await this.read(response);
      } catch {
        if (signal.aborted) return;
        this.onState("lost");
        pause = Math.min(LONGEST_PAUSE_MS, pause * 2);
      }
      await new Promise((resolve) => setTimeout(resolve, pause * (0.5 + Math.random() / 2)));
    }
  }

  private async read(response: Response): Promise<void> {
    const { createParser } = await import("eventsource-parser");
    const parser = createParser({ onEvent: (event) => this.hand(event) });
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
    if (!reader) return;
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      parser.feed(value);
    }
  }

  private hand(event: EventSourceMessage): void {
    const listeners = this.listeners.get(event.event as Topic);
    if (!listeners) return;
    const data: unknown = JSON.parse(event.data);
    for (const listener of listeners) listener(data);
  }
}

interface Events {
  stream: Stream;
  state: StreamState;
}

const Context = createContext<Events | null>(null);

export function EventsProvider({ children }: { children: ReactNode }) {
  const [state, setState] = useState<StreamState>("off");
  const stream = useMemo(() => new Stream(setState), []);
  useEffect(() => {
    const follow = () => stream.restart();
    document.addEventListener("visibilitychange", follow);
    return () => {
      document.removeEventListener("visibilitychange", follow);
      stream.stop();
    };
  }, [stream]);
  const events = useMemo(() => ({ stream, state }), [stream, state]);
  return <Context value={events}>{children}</Context>;
}

/** Hears a topic while `isOn`; says how the stream is. `onData` gets what `data:` holds, read as JSON. */
export function useEvents(topic: Topic, onData: Listener, isOn = true): StreamState {
  const events = useContext(Context);
  const latest = useRef(onData);
  useEffect(() => {
    latest.current = onData;
  });
  const stream = events?.stream;
  useEffect(() => {
    if (!stream || !isOn) return;
    return stream.add(topic, (data) => latest.current(data));
  }, [stream, topic, isOn]);
  return isOn ? (events?.state ?? "off") : "off";
}
