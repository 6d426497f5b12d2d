import { screen, within } from "@testing-library/react";
import { describe, expect, it } from "vitest";
import { renderConsole } from "@/test/render";
import { answer } from "@/test/server";
import { bodyOf, NEW_POLICY, policyWords, rulesFault } from "./policies";
import { type Finding, piecesOf } from "./spans";

function finding(start: number, end: number, changed: Partial<Finding> = {}): Finding {
  return {
    policy: "baseline",
    rule: "pii",
    label: "email",
    start,
    end,
    score: 1,
    action: "redact",
    is_monitored: false,
    because: "an address",
    ...changed,
  };
}

describe("a text with finds", () => {
  it("is cut by characters, not by UTF-16 units", () => {
    const pieces = piecesOf("😀😀 ann@example.com!", [finding(3, 18)]);
    expect(pieces.map(({ text }) => text)).toEqual(["😀😀 ", "ann@example.com", "!"]);
    expect(pieces.map(({ findings }) => findings.length)).toEqual([0, 1, 0]);
  });

  it("shows the strictest where several overlap, and bears offsets beyond its end", () => {
    const pieces = piecesOf("abcd", [finding(0, 3), finding(1, 99, { action: "block" })]);
    expect(pieces.map(({ text, findings }) => [text, findings[0]?.action])).toEqual([
      ["a", "redact"],
      ["bc", "block"],
      ["d", "block"],
    ]);
  });
});

describe("a policy", () => {
  it("is sent as the API takes it", () => {
    expect(bodyOf({ ...NEW_POLICY, starter: "", message: " ", rules: '[{"rule":"length"}]' })).toEqual({
      starter: null,
      mode: "monitor",
      when: "before",
      message: null,
      keeps_text: false,
      rules: [{ rule: "length" }],
    });
  });

  it.each(["", "{}", "[", "null"])("has no rules in %s", (text) => expect(rulesFault(text)).not.toBeNull());

  it("is said in words", () => {
    expect(policyWords({ starter: "baseline", rules: [{ rule: "length" }] })).toBe("baseline and 1 rule");
    expect(policyWords({ starter: null, rules: [] })).toBe("no rule");
  });
});

it("tests a text: what was found is marked, and what would go on is shown", async () => {
  const asked = answer("post", "/api/v1/guardrails/test", {
    findings: [finding(9, 24)],
    action: "redact",
    text: "Write to <EMAIL>",
    policies: ["baseline"],
    milliseconds: 0.123,
  });
  answer("get", "/api/v1/guardrail-policies", { data: [], next_cursor: null });
  const { user } = renderConsole("/guardrails?view=test");
  const box = await screen.findByRole("textbox", { name: "A text" });
  await user.clear(box);
  await user.type(box, "Write to ann@example.com");
  await user.click(screen.getByRole("button", { name: "Test" }));
  const result = await screen.findByRole("status", { name: "Result" });
  expect(within(result).getByText("ann@example.com").tagName).toBe("MARK");
  expect(within(result).getByText("Write to <EMAIL>")).toBeVisible();
  expect(asked[0]?.body).toMatchObject({ text: "Write to ann@example.com", direction: "input", starter: null });
});
