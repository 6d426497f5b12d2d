/** A word in passing, at the corner: what was done, or why not. */
import type { NotificationData } from "@mantine/notifications";
import { problemOf } from "./states";

export function say(message: string): void {
  show({ message });
}

export function sayProblem(error: unknown): void {
  const problem = problemOf(error);
  show({
    title: problem.message,
    message: problem.requestId ? `Request id: ${problem.requestId}` : "",
    color: "red",
    autoClose: 12_000,
  });
}

/** Its code comes with the first notice that needs it. */
function show(notice: NotificationData): void {
  void import("@mantine/notifications").then(({ notifications }) =>
    notifications.show({ withBorder: true, ...notice }),
  );
}
