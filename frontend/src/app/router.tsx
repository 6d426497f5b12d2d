/** Routes from the registry: one for each page, loaded when it is asked for (or aimed at). */
import {
  createRootRoute,
  createRoute,
  createRouter,
  lazyRouteComponent,
  type RouterHistory,
} from "@tanstack/react-router";
import type { Page } from "@/lib/page";
import { isReachable, useSession } from "@/lib/session";
import { parseSearch, type Search, stringifySearch } from "@/lib/urlState";
import { Failed, Forbidden, Loading } from "@/ui/states";
import { NotFound } from "./NotFound";
import { PAGES } from "./registry";
import { Shell } from "./Shell";

function guarded(page: Page) {
  const Content = lazyRouteComponent(page.load);
  function Guarded() {
    return isReachable(page, useSession()) ? <Content /> : <Forbidden />;
  }
  return Object.assign(Guarded, { preload: Content.preload });
}

export function makeRouter(history?: RouterHistory, pages: readonly Page[] = PAGES) {
  const root = createRootRoute({
    component: Shell,
    notFoundComponent: NotFound,
    errorComponent: ({ error, reset }) => <Failed error={error} onRetry={reset} />,
    validateSearch: (search: Record<string, unknown>) => search as Search,
  });
  const routes = pages.map((page) =>
    createRoute({ getParentRoute: () => root, path: page.path, component: guarded(page) }),
  );
  return createRouter({
    routeTree: root.addChildren(routes),
    basepath: "/console",
    history,
    defaultPreload: "intent",
    defaultPendingMs: 150,
    defaultPendingComponent: () => <Loading />,
    defaultErrorComponent: ({ error, reset }) => <Failed error={error} onRetry={reset} />,
    defaultNotFoundComponent: NotFound,
    parseSearch,
    stringifySearch,
    scrollRestoration: true,
  });
}
