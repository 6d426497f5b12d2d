import { expect, test } from "vitest";
import { formatMoment, formatMs, formatRelative, formatShare, formatUsd } from "./format";
import { rangeOf } from "./range";
import { curlOf, SNIPPETS, snippetOf } from "./snippets";
import { parseSearch, stringifySearch } from "./urlState";

test("money keeps every digit it came with, and is only padded and grouped", () => {
  expect(formatUsd("0.0198")).toBe("$0.0198");
  expect(formatUsd("1234567.5")).toBe("$1,234,567.50");
  expect(formatUsd("-3")).toBe("-$3.00");
  expect(formatUsd("9007199254740993.000000001")).toBe("$9,007,199,254,740,993.000000001");
  expect(formatUsd(null)).toBe("–");
});

test("times are told in the zone that is asked for", () => {
  const moment = new Date("2026-05-04T23:30:05Z");
  expect(formatMoment(moment, "utc")).toBe("2026-05-04 23:30:05");
  expect(formatRelative(moment, new Date("2026-05-05T01:30:05Z"))).toBe("2 hr. ago");
  expect(formatMs(0.25)).toBe("0.25 ms");
  expect(formatMs(65_000)).toBe("1 min 5 s");
  expect(formatShare(1, 3)).toBe("33.3 %");
  expect(formatShare(0, 0)).toBe("–");
});

test("an address says what it says: plain words, lists by repetition, nothing for what is empty", () => {
  const search = { status: "active", model: ["gpt-4o", "a b&c"], open: "" };
  expect(stringifySearch(search)).toBe("?status=active&model=gpt-4o&model=a+b%26c");
  expect(parseSearch("?status=active&model=gpt-4o&model=a+b%26c")).toEqual({
    status: "active",
    model: ["gpt-4o", "a b&c"],
  });
  expect(stringifySearch({})).toBe("");
});

test("a named range begins at a whole minute; bounds of one's own stand", () => {
  const now = Date.parse("2026-05-04T12:00:59.999Z");
  const url = (search: Record<string, string>) => ({ get: (name: string) => search[name] });
  expect(rangeOf(url({}), "24h", now)).toEqual({ from: "2026-05-03T12:00:00.000Z", name: "24h" });
  expect(rangeOf(url({ range: "1h" }), "24h", now).from).toBe("2026-05-04T11:00:00.000Z");
  expect(rangeOf(url({ range: "nonsense" }), "24h", now).name).toBe("24h");
  expect(rangeOf(url({ from: "a", to: "b" }), "24h", now)).toEqual({ from: "a", to: "b", name: null });
});

test("what is to be pasted into a shell cannot leave its quotes", () => {
  const hostile = "it's $(rm -rf /) `x`";
  const shown = curlOf(
    { method: "POST", path: "/api/v1/keys", body: { name: hostile }, etag: '"3"' },
    "http://gateway",
  );
  expect(shown).toContain(`-d '{"name":"it'\\''s $(rm -rf /) \`x\`"}'`);
  expect(shown).toContain(`-H 'If-Match: "3"'`);
  for (const kind of SNIPPETS) expect(snippetOf(kind, "http://gateway/v1", "tk-x", hostile)).toContain("tk-x");
  expect(snippetOf("Python", "http://gateway/v1", "tk-x", 'a"b')).toContain('model="a\\"b"');
});
