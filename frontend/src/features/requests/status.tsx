/** How a call ended, in a word and a colour. */
import type { Schemas } from "@/api/client";
import { StatusBadge, type Tone } from "@/ui/StatusBadge";

export type Call = Schemas["Request"];
export const STATUSES = ["ok", "error", "cancelled", "blocked", "cached"] as const satisfies readonly Call["status"][];

const TONES: Record<Call["status"], Tone> = {
  ok: "good",
  error: "bad",
  cancelled: "calm",
  blocked: "warn",
  cached: "info",
};

export function CallStatus({ of: call }: { of: Pick<Call, "status" | "http_status" | "error_code"> }) {
  const words = call.status === "error" ? `error ${call.http_status}` : call.status;
  return <StatusBadge tone={TONES[call.status]}>{words}</StatusBadge>;
}
