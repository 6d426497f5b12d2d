/** The frame around every page: bar, navigation, palette, keys. */
import {
  ActionIcon,
  Anchor,
  AppShell,
  Burger,
  Button,
  Group,
  Kbd,
  Menu,
  NavLink,
  SegmentedControl,
  Stack,
  Text,
  useMantineColorScheme,
} from "@mantine/core";
import { useDisclosure, useHotkeys } from "@mantine/hooks";
import { Link, Outlet, useNavigate, useRouterState } from "@tanstack/react-router";
import { CircleHelp, LogOut, Search, UserRound } from "lucide-react";
import { lazy, Suspense, useEffect } from "react";
import { client } from "@/api/client";
import { type Zone, zoneName } from "@/lib/format";
import { useSession } from "@/lib/session";
import { useZone } from "@/lib/zone";
import { sayProblem } from "@/ui/say";
import { navigation } from "./registry";
import classes from "./Shell.module.css";
import { TenantSwitcher } from "./TenantSwitcher";

const openPalette = () => void import("@mantine/spotlight").then(({ spotlight }) => spotlight.open());
// Nobody sees these before the first page: they come after it.
const Overlays = lazy(() => import("./Overlays"));

export function Shell() {
  const session = useSession();
  const navigate = useNavigate();
  const path = useRouterState({ select: (state) => state.location.pathname });
  const [isMenuOpen, menu] = useDisclosure(false);
  const [isHelpOpen, help] = useDisclosure(false);
  const { toggleColorScheme } = useMantineColorScheme();
  const closeMenu = menu.close;
  // biome-ignore lint/correctness/useExhaustiveDependencies: another page closes the menu of a phone
  useEffect(() => closeMenu(), [path, closeMenu]);
  useHotkeys([
    ["shift + ?", help.open],
    ["?", help.open],
    ["mod + J", () => toggleColorScheme()],
  ]);
  useGo({ h: () => navigate({ to: "/" }), r: () => navigate({ to: "/requests" }), k: () => navigate({ to: "/keys" }) });

  return (
    <AppShell
      header={{ height: 52 }}
      navbar={{ width: 224, breakpoint: "sm", collapsed: { mobile: !isMenuOpen } }}
      padding={{ base: "sm", sm: "lg" }}
    >
      <a className={classes.skip} href="#content">
        To the content
      </a>
      <AppShell.Header>
        <Group h="100%" px="md" justify="space-between" wrap="nowrap" gap="xs">
          <Group gap="sm" wrap="nowrap" style={{ minWidth: 0 }}>
            <Burger opened={isMenuOpen} onClick={menu.toggle} hiddenFrom="sm" size="sm" aria-label="Navigation" />
            <Anchor component={Link} to="/" fw={700} c="inherit" underline="never" visibleFrom="xs">
              Tollkeeper
            </Anchor>
            <TenantSwitcher />
          </Group>
          <Group gap="xs" wrap="nowrap">
            <Button
              variant="default"
              size="xs"
              leftSection={<Search size={14} aria-hidden />}
              onClick={openPalette}
              visibleFrom="xs"
              rightSection={<Kbd size="xs">Ctrl K</Kbd>}
            >
              Search
            </Button>
            <ActionIcon hiddenFrom="xs" aria-label="Search" onClick={openPalette} color="gray">
              <Search size={18} aria-hidden />
            </ActionIcon>
            <ActionIcon aria-label="Keyboard shortcuts" onClick={help.open} color="gray" visibleFrom="sm">
              <CircleHelp size={18} aria-hidden />
            </ActionIcon>
            <AccountMenu />
          </Group>
        </Group>
      </AppShell.Header>
      <AppShell.Navbar p="xs" className={classes.navbar}>
        <nav aria-label="Pages">
          {navigation(session).map(({ section, pages }) => (
            <div key={section} className={classes.section}>
              {section && (
                <Text size="xs" fw={600} c="var(--tk-faint)" px="xs" pt="sm" pb={2}>
                  {section}
                </Text>
              )}
              {pages.map((page) => (
                <NavLink
                  key={page.path}
                  component={Link}
                  to={page.path}
                  label={page.title}
                  leftSection={<page.icon size={17} aria-hidden />}
                  active={isWithin(path, page.path)}
                  aria-current={isWithin(path, page.path) ? "page" : undefined}
                  className={classes.link}
                  variant="subtle"
                />
              ))}
            </div>
          ))}
        </nav>
        <Text size="xs" c="var(--tk-faint)" px="xs" pt="md">
          Tollkeeper {session.version}
        </Text>
      </AppShell.Navbar>
      <AppShell.Main id="content" tabIndex={-1} className={classes.main}>
        {session.must_set_up_second_factor && <SecondFactorNote />}
        <Outlet />
      </AppShell.Main>
      <Suspense fallback={null}>
        <Overlays isHelpOpen={isHelpOpen} onHelpClose={help.close} />
      </Suspense>
    </AppShell>
  );
}

function isWithin(path: string, page: string): boolean {
  const here = path.replace(/^\/console/, "") || "/";
  return page === "/" ? here === "/" : here === page || here.startsWith(`${page}/`);
}

function SecondFactorNote() {
  return (
    <Text role="alert" mb="md" p="sm" className={classes.note}>
      Your organisation asks for a second factor.{" "}
      <Anchor href="/console/account" underline="always" c="inherit" fw={600}>
        Set one up
      </Anchor>{" "}
      to go on.
    </Text>
  );
}

function AccountMenu() {
  const { user } = useSession();
  const { zone, setZone } = useZone();
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  const signOut = async () => {
    try {
      await client.POST("/api/v1/auth/logout");
      location.assign("/console/sign-in");
    } catch (error) {
      sayProblem(error);
    }
  };
  return (
    <Menu width={260} position="bottom-end" closeOnItemClick={false}>
      <Menu.Target>
        <ActionIcon aria-label={`Account of ${user.email}`} color="gray">
          <UserRound size={18} aria-hidden />
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        <Stack gap={2} px="sm" py="xs">
          <Text size="sm" fw={600} style={{ overflowWrap: "anywhere" }}>
            {user.name}
          </Text>
          <Text size="xs" c="var(--tk-faint)" style={{ overflowWrap: "anywhere" }}>
            {user.email} · {user.role}
          </Text>
        </Stack>
        <Menu.Divider />
        <Stack gap="xs" px="sm" py="xs">
          <Text size="xs" c="var(--tk-faint)" id="scheme">
            Colours
          </Text>
          <SegmentedControl
            size="xs"
            aria-labelledby="scheme"
            value={colorScheme}
            onChange={(chosen) => setColorScheme(chosen as "light" | "dark" | "auto")}
            data={["light", "dark", "auto"]}
          />
          <Text size="xs" c="var(--tk-faint)" id="zone">
            Times
          </Text>
          <SegmentedControl
            size="xs"
            aria-labelledby="zone"
            value={zone}
            onChange={(chosen) => setZone(chosen as Zone)}
            data={[
              { value: "utc", label: "UTC" },
              { value: "local", label: zoneName("local") },
            ]}
          />
        </Stack>
        <Menu.Divider />
        <Menu.Item component="a" href="/console/account" leftSection={<UserRound size={16} aria-hidden />}>
          Account and second factor
        </Menu.Item>
        <Menu.Item leftSection={<LogOut size={16} aria-hidden />} onClick={() => void signOut()}>
          Sign out
        </Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}

/** `g` and then a letter, within a second. */
function useGo(places: Record<string, () => unknown>): void {
  useEffect(() => {
    let begun = 0;
    const hear = (event: KeyboardEvent) => {
      const target = event.target as HTMLElement | null;
      if (
        event.ctrlKey ||
        event.metaKey ||
        event.altKey ||
        target?.closest("input, textarea, select, [contenteditable]")
      )
        return;
      if (event.key === "g") begun = event.timeStamp;
      else if (event.timeStamp - begun < 1000 && places[event.key]) {
        begun = 0;
        places[event.key]?.();
      }
    };
    document.addEventListener("keydown", hear);
    return () => document.removeEventListener("keydown", hear);
  });
}
