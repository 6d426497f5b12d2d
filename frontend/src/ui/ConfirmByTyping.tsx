/** For what cannot be taken back: the reader types the name of the thing before the button works. */
import { Button, Code, Group, Modal, Stack, Text, TextInput } from "@mantine/core";
import { type ReactNode, useId, useState } from "react";
import { Failed } from "./states";

export function ConfirmByTyping({
  opened,
  onClose,
  title,
  word,
  action,
  children,
  onConfirm,
}: {
  opened: boolean;
  onClose: () => void;
  title: string;
  /** What is to be typed: the name of the thing. */
  word: string;
  /** On the button: "Revoke this key". */
  action: string;
  /** What will happen. */
  children: ReactNode;
  onConfirm: () => Promise<unknown>;
}) {
  const [typed, setTyped] = useState("");
  const [error, setError] = useState<unknown>(null);
  const [isBusy, setBusy] = useState(false);
  const form = useId();
  const close = () => {
    setTyped("");
    setError(null);
    onClose();
  };
  const confirm = async () => {
    setBusy(true);
    setError(null);
    try {
      await onConfirm();
      close();
    } catch (problem) {
      setError(problem);
    } finally {
      setBusy(false);
    }
  };
  return (
    <Modal opened={opened} onClose={close} title={title}>
      <form
        id={form}
        onSubmit={(event) => {
          event.preventDefault();
          if (typed === word && !isBusy) void confirm();
        }}
      >
        <Stack>
          <Text size="sm">{children}</Text>
          {error !== null && <Failed error={error} />}
          <TextInput
            label={
              <>
                Type <Code style={{ overflowWrap: "anywhere" }}>{word}</Code> to confirm
              </>
            }
            value={typed}
            onChange={(event) => setTyped(event.currentTarget.value)}
            autoComplete="off"
            data-autofocus
          />
          <Group justify="flex-end">
            <Button variant="default" onClick={close}>
              Cancel
            </Button>
            <Button type="submit" color="red" disabled={typed !== word} loading={isBusy}>
              {action}
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}
