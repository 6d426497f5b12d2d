/** The chart alone, so that its library is loaded where one is drawn. */
import "@mantine/charts/styles.css";
import { LineChart } from "@mantine/charts";
import { formatMoment, type Zone } from "@/lib/format";
import type { Burn } from "./burnDown";

export default function BurnDownChart({ burns, amount, zone }: { burns: Burn[]; amount: number; zone: Zone }) {
  const data = burns.map(({ at, spent, ideal }) => ({
    at: formatMoment(new Date(at), zone, { withSeconds: false }).slice(5),
    spent,
    ideal,
  }));
  return (
    <div role="img" aria-label="Spent so far, beside an even spending of all of it">
      <LineChart
        h={220}
        data={data}
        dataKey="at"
        series={[
          { name: "spent", label: "Spent", color: "#4477aa" },
          { name: "ideal", label: "Evenly spent", color: "#9aa3ad", strokeDasharray: "4 4" },
        ]}
        referenceLines={[{ y: amount, label: "All of it", color: "red" }]}
        curveType="linear"
        withDots={false}
        withLegend
        tickLine="none"
        yAxisProps={{ width: 60, domain: [0, (most: number) => Math.max(most, amount)] }}
        valueFormatter={(value) => `$${Number(value.toPrecision(3))}`}
        lineProps={{ isAnimationActive: false }}
      />
    </div>
  );
}
