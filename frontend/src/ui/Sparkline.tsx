/** The shape of a series, without axes; its numbers stand beside it. */
import classes from "./Sparkline.module.css";

const WIDTH = 120;
const HEIGHT = 32;

export function Sparkline({ values, label }: { values: number[]; label: string }) {
  if (values.length < 2) return <div className={classes.none} />;
  const most = Math.max(...values, 1e-12);
  const step = WIDTH / (values.length - 1);
  const points = values.map(
    (value, index) => `${(index * step).toFixed(1)},${(HEIGHT - 2 - (value / most) * (HEIGHT - 4)).toFixed(1)}`,
  );
  return (
    <svg
      className={classes.line}
      viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
      preserveAspectRatio="none"
      role="img"
      aria-label={label}
    >
      <polyline points={points.join(" ")} vectorEffect="non-scaling-stroke" />
    </svg>
  );
}
