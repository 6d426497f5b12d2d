/** The chart alone, so that its library is loaded where one is drawn. */
import "@mantine/charts/styles.css";
import { BarChart } from "@mantine/charts";
import { formatMoment, type Zone } from "@/lib/format";
import type { Bucket } from "./question";
import { type Chart, METRICS, type MetricName, OTHER } from "./series";

// Told apart in both schemes, and by people who do not see red and green.
const COLOURS = ["#4477aa", "#cc6677", "#228833", "#997700", "#66aacc", "#aa3377", "#777777", "#ee8866"];
const REST = "#9aa3ad";

export default function UsageChart({
  chart,
  metric,
  bucket,
  zone,
  nameOf,
}: {
  chart: Chart;
  metric: MetricName;
  bucket: Bucket;
  zone: Zone;
  nameOf: (id: string) => string;
}) {
  const { label, axis, isSum } = METRICS[metric];
  const length = bucket === "hour" ? 16 : 10;
  const data = chart.rows.map((row) => ({
    ...row,
    time: formatMoment(new Date(String(row.time)), zone, { withSeconds: false }).slice(0, length),
  }));
  const series = chart.names.map((name, index) => ({
    name,
    label: name === OTHER ? OTHER : nameOf(name),
    color: name === OTHER ? REST : (COLOURS[index % COLOURS.length] ?? REST),
  }));
  const shared = {
    h: 300,
    data,
    dataKey: "time",
    series,
    withLegend: series.length > 1,
    valueFormatter: axis,
    tickLine: "none" as const,
    yAxisProps: { width: 64 },
    legendProps: { verticalAlign: "bottom" as const },
  };
  return (
    <div role="img" aria-label={`${label} by ${bucket}; the same figures are in the table below`}>
      {/* Averages stand beside one another: stacked they would say nothing. */}
      <BarChart {...shared} type={isSum ? "stacked" : "default"} barProps={{ isAnimationActive: false }} />
    </div>
  );
}
