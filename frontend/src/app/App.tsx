/** Providers, and the one question before anything is drawn: who reads, and what is there (`GET /api/v1/bootstrap`). */
import { Box, Container, MantineProvider } from "@mantine/core";
import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { type AnyRouter, RouterProvider } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { $api, connect } from "@/api/client";
import { EventsProvider } from "@/api/events";
import { Problem } from "@/api/problem";
import { SessionContext } from "@/lib/session";
import { ZoneProvider } from "@/lib/zone";
import { Failed, Loading } from "@/ui/states";
import { theme } from "@/ui/theme";

const FRESH_MS = 10_000;
const MOST_RETRIES = 2;

export function makeQueryClient(): QueryClient {
  return new QueryClient({
    defaultOptions: {
      queries: {
        staleTime: FRESH_MS,
        // What the gateway refuses it refuses again; what it could not do just now may work.
        retry: (count, error) =>
          count < MOST_RETRIES && (!(error instanceof Problem) || error.status === 0 || error.status >= 500),
      },
    },
  });
}

export function App({ router, queries, env }: { router: AnyRouter; queries: QueryClient; env?: "test" }) {
  return (
    <MantineProvider theme={theme} defaultColorScheme="auto" env={env}>
      <QueryClientProvider client={queries}>
        <ZoneProvider>
          <EventsProvider>
            <Session>
              <RouterProvider router={router} />
            </Session>
          </EventsProvider>
        </ZoneProvider>
      </QueryClientProvider>
    </MantineProvider>
  );
}

function Session({ children }: { children: ReactNode }) {
  const { data, error, refetch } = $api.useQuery("get", "/api/v1/bootstrap", {}, { staleTime: 60_000 });
  if (data) {
    connect({ csrf: data.csrf_token ?? null });
    return <SessionContext value={data}>{children}</SessionContext>;
  }
  return (
    <Container size="sm" py="xl">
      {/* Who is not signed in is on their way to the sign-in page. */}
      {error && !(error instanceof Problem && error.status === 401) ? (
        <Box component="main">
          <Failed error={error} onRetry={() => void refetch()} />
        </Box>
      ) : (
        <Loading what="Starting" />
      )}
    </Container>
  );
}
