/** Colours, type and defaults; chosen so that axe finds nothing in either scheme. */
import { createTheme, type MantineColorsTuple } from "@mantine/core";

const toll: MantineColorsTuple = [
  "#eef4ff",
  "#dbe6fb",
  "#b3caf5",
  "#88acef",
  "#6593ea",
  "#4f83e7",
  "#427ae6",
  "#336acd",
  "#1f5fbf",
  "#12509f",
];

export const theme = createTheme({
  primaryColor: "toll",
  colors: { toll },
  // White on the default shade is below 4.5 : 1.
  primaryShade: { light: 8, dark: 8 },
  autoContrast: true,
  fontFamily: "'Inter Variable', system-ui, sans-serif",
  fontFamilyMonospace: "ui-monospace, SFMono-Regular, Menlo, Consolas, monospace",
  headings: { fontFamily: "'Inter Variable', system-ui, sans-serif", fontWeight: "650" },
  defaultRadius: "md",
  respectReducedMotion: true,
  cursorType: "pointer",
  // By name: the components themselves would join the first load.
  components: {
    Modal: { defaultProps: { closeButtonProps: { "aria-label": "Close" }, centered: true } },
    Drawer: { defaultProps: { closeButtonProps: { "aria-label": "Close" } } },
    ActionIcon: { defaultProps: { variant: "subtle" } },
    Table: { defaultProps: { verticalSpacing: "xs" } },
  },
});
