/** What lies above a page when it is called for: palette, proof of oneself, the list of keys, notices. */
import { Kbd, Modal, Table } from "@mantine/core";
import { Notifications } from "@mantine/notifications";
import "@mantine/notifications/styles.css";
import "@mantine/spotlight/styles.css";
import { Palette } from "./Palette";
import { StepUp } from "./StepUp";

const KEYS: [string, string][] = [
  ["Ctrl K or /", "Search pages, keys, tenants, a request id"],
  ["?", "This list"],
  ["G then H", "Home"],
  ["G then R", "Requests"],
  ["G then K", "Keys"],
  ["J K", "Next and previous row or drawer"],
  ["Enter", "Open the row"],
  ["Esc", "Close"],
  ["Ctrl J", "Light or dark"],
];

export default function Overlays({ isHelpOpen, onHelpClose }: { isHelpOpen: boolean; onHelpClose: () => void }) {
  return (
    <>
      <Notifications position="bottom-right" />
      <Palette />
      <StepUp />
      <Modal opened={isHelpOpen} onClose={onHelpClose} title="Keyboard shortcuts">
        <Table>
          <Table.Tbody>
            {KEYS.map(([keys, what]) => (
              <Table.Tr key={keys}>
                <Table.Td style={{ whiteSpace: "nowrap" }}>
                  <Kbd>{keys}</Kbd>
                </Table.Td>
                <Table.Td>{what}</Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </Modal>
    </>
  );
}
