/** A word in passing, at the corner: what was done, or why not. */
import { notifications } from "@mantine/notifications";
import { problemOf } from "./states";

export function say(message: string): void {
  notifications.show({ message, withBorder: true });
}

export function sayProblem(error: unknown): void {
  const problem = problemOf(error);
  notifications.show({
    title: problem.message,
    message: problem.requestId ? `Request id: ${problem.requestId}` : "",
    color: "red",
    autoClose: 12_000,
    withBorder: true,
  });
}
