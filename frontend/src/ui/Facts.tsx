/** Names and values of one thing, as a description list. */
import { Text } from "@mantine/core";
import type { ReactNode } from "react";
import { NONE } from "@/lib/format";
import classes from "./Facts.module.css";

export function Facts({ facts }: { facts: [string, ReactNode][] }) {
  return (
    <dl className={classes.facts}>
      {facts.map(([name, value]) => (
        <div key={name} className={classes.fact}>
          <dt>{name}</dt>
          <dd>
            {value === null || value === undefined || value === "" ? (
              <Text span inherit>
                {NONE}
              </Text>
            ) : (
              value
            )}
          </dd>
        </div>
      ))}
    </dl>
  );
}
