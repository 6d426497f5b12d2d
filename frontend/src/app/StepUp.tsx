/** Asks for a fresh proof of who the reader is, where the server wants one; the request that needed it then goes on. */
import { Anchor, Button, Group, Modal, PasswordInput, Stack, Text, TextInput } from "@mantine/core";
import { useCallback, useEffect, useRef, useState } from "react";
import { client, connect } from "@/api/client";
import { useSession } from "@/lib/session";
import { problemOf } from "@/ui/states";

export function StepUp() {
  const { session } = useSession();
  const [isOpen, setOpen] = useState(false);
  const [password, setPassword] = useState("");
  const [code, setCode] = useState("");
  const [wantsCode, setWantsCode] = useState(false);
  const [said, setSaid] = useState<string | null>(null);
  const [isBusy, setBusy] = useState(false);
  const waiting = useRef<((proven: boolean) => void)[]>([]);

  useEffect(() => {
    connect({
      stepUp: () =>
        new Promise<boolean>((resolve) => {
          waiting.current.push(resolve);
          setOpen(true);
        }),
    });
    return () => connect({ stepUp: () => Promise.resolve(false) });
  }, []);

  const finish = useCallback((proven: boolean) => {
    setOpen(false);
    setPassword("");
    setCode("");
    setSaid(null);
    for (const resolve of waiting.current.splice(0)) resolve(proven);
  }, []);

  const prove = async () => {
    setBusy(true);
    setSaid(null);
    try {
      const trimmed = code.trim();
      await client.POST("/api/v1/auth/step-up", { body: { password, ...(trimmed && { code: trimmed }) } });
      finish(true);
    } catch (error) {
      const problem = problemOf(error);
      if (["second_factor_required", "invalid_second_factor"].includes(problem.code)) setWantsCode(true);
      setSaid(problem.message);
    } finally {
      setBusy(false);
    }
  };

  const here = `${location.pathname}${location.search}`;
  return (
    <Modal opened={isOpen} onClose={() => finish(false)} title="Prove that it is you">
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void prove();
        }}
      >
        <Stack>
          <Text size="sm">Credentials, roles and exports ask for a fresh proof of who you are.</Text>
          {session?.method === "oidc" ? (
            <Anchor href={`/console/step-up?${new URLSearchParams({ next: here })}`} underline="always">
              Prove it through your organisation
            </Anchor>
          ) : (
            <>
              <PasswordInput
                label="Password"
                autoComplete="current-password"
                value={password}
                onChange={(event) => setPassword(event.currentTarget.value)}
                required
                data-autofocus
              />
              {wantsCode && (
                <TextInput
                  label="Code of your authenticator app, or a recovery code"
                  autoComplete="one-time-code"
                  value={code}
                  onChange={(event) => setCode(event.currentTarget.value)}
                  required
                />
              )}
            </>
          )}
          {said && (
            <Text size="sm" c="var(--tk-bad)" role="alert">
              {said}
            </Text>
          )}
          <Group justify="flex-end">
            <Button variant="default" onClick={() => finish(false)}>
              Cancel
            </Button>
            {session?.method !== "oidc" && (
              <Button type="submit" loading={isBusy}>
                Go on
              </Button>
            )}
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}
