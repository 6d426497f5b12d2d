import { describe, expect, it } from "vitest";
import { parseSearch, type Url } from "@/lib/urlState";
import { exportHref, queryOf, readQuestion } from "./question";
import { chartOf, type Group, groupValue, METRICS, OTHER } from "./series";

const NOW = new Date("2026-03-04T10:20:30Z");

function urlOf(text: string): Url {
  const search = parseSearch(text);
  return { search, get: (name) => [search[name] ?? []].flat()[0], all: (name) => [search[name] ?? []].flat() };
}

function group(fields: Partial<Group>): Group {
  return {
    requests: 1,
    errors: 0,
    prompt_tokens: 5,
    completion_tokens: 3,
    total_tokens: 8,
    cost_usd: "0.5",
    unpriced_requests: 0,
    average_latency_ms: 100,
    ...fields,
  } as Group;
}

describe("the question of a page", () => {
  it("is a week by days and models where the URL says nothing", () => {
    const question = readQuestion(urlOf(""), "utc", NOW);
    expect(question).toMatchObject({ range: "7d", bucket: "day", group: "model", zone: "UTC", until: undefined });
    expect(question.since).toBe("2026-02-25T11:00:00.000Z");
  });

  it("is the same for an hour, so that nothing is asked twice", () => {
    const later = new Date(NOW.getTime() + 60_000);
    expect(readQuestion(urlOf(""), "utc", later)).toEqual(readQuestion(urlOf(""), "utc", NOW));
  });

  it("takes what the URL says and nothing that it cannot mean", () => {
    const url = urlOf("?range=toString&group=__proto__&bucket=year&model=a&model=b&key=key_1");
    expect(readQuestion(url, "utc", NOW)).toMatchObject({
      range: "7d",
      group: "model",
      bucket: "day",
      filters: { model: ["a", "b"], api_key_id: ["key_1"] },
    });
  });

  it("of chosen dates ends where they end", () => {
    const url = urlOf("?from=2026-01-01T00:00:00Z&to=2026-02-01T00:00:00Z&range=30d");
    const question = readQuestion(url, "utc", NOW);
    expect(question).toMatchObject({ range: "custom", since: "2026-01-01T00:00:00Z", until: "2026-02-01T00:00:00Z" });
  });

  it("is asked in the same words by the page and by its export", () => {
    const question = readQuestion(urlOf("?model=a%26b&range=24h"), "utc", NOW);
    const asked = queryOf(question, ["hour", "model"]);
    const exported = new URL(exportHref(question, ["hour", "model"], "csv"), "http://gateway");
    expect(exported.searchParams.getAll("group_by")).toEqual(asked.group_by);
    expect(exported.searchParams.get("from")).toBe(asked.from);
    expect(exported.searchParams.get("model")).toBe("a&b");
    expect(exported.searchParams.get("format")).toBe("csv");
  });
});

describe("a chart", () => {
  const data = [
    group({ day: "2026-03-01T00:00:00Z", model: "large", cost_usd: "2" }),
    group({ day: "2026-03-01T00:00:00Z", model: "small", cost_usd: "0.25", requests: 7 }),
    group({ day: "2026-03-01T00:00:00Z", model: "tiny", cost_usd: "0.25", requests: 2 }),
    group({ day: "2026-03-02T00:00:00Z", model: "large", cost_usd: "1" }),
  ];
  const asked = { bucket: "day", group: "model", names: ["large"] } as const;

  it("puts together what has no name of its own", () => {
    expect(chartOf(data, { ...asked, metric: "requests" })).toEqual({
      names: ["large", OTHER],
      rows: [
        { time: "2026-03-01T00:00:00Z", large: 1, [OTHER]: 9 },
        { time: "2026-03-02T00:00:00Z", large: 1 },
      ],
    });
  });

  it("adds up no averages", () => {
    expect(chartOf(data, { ...asked, metric: "latency" }).names).toEqual(["large"]);
  });

  it("names what belongs to nobody", () => {
    expect(groupValue(group({ team_id: null }), "team")).toBe("none");
  });

  it("says money as the server said it", () => {
    expect(METRICS.cost.words(group({ cost_usd: "1234.000000001" }))).toBe("$1,234.000000001");
  });
});
