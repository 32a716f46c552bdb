/**
 * Which run a page is about: its name, when and how it was started, and what it was asked to do.
 *
 * @module
 */
import type { IntegrationRecord, RunRecord } from "../record.ts";
import type { Html } from "./html.ts";
import { namedTable } from "./parts.ts";

type Run = RunRecord | IntegrationRecord;

/** A line for the top of the page. */
export function aboutLine({ about, environment }: Run): string {
  const begun = moment(about?.created);
  const named = about?.name === undefined ? "Run" : `Run ${about.name}`;
  return `${named}${begun ? `, begun ${begun}` : ""}: Pollard ${environment.pollard} on Deno ` +
    `${environment.deno}, ${environment.adapter}.`;
}

/** The same as a table, with the command and the options that are not the defaults. */
export function aboutTable({ about, config, environment }: Run): Html {
  const { name, created, command, changed } = about ?? {};
  const options = changed?.flatMap((key): [string, string][] => {
    const value = config[key] ?? undefined;
    if (value === undefined) return [];
    return [[`--${key}`, typeof value === "string" ? value : JSON.stringify(value)]];
  });
  const rows: [string, string | undefined][] = [
    ["Name", name],
    ["Begun", moment(created)],
    ["Command", command],
    ["Pollard", environment.pollard],
    ["Deno", environment.deno],
    ["Adapter", environment.adapter],
    ["Options that differ from the defaults", options && `${options.length || "none"}`],
    ...options ?? [],
  ];
  return namedTable(
    rows.filter((row): row is [string, string] => row[1] !== undefined),
    "record",
  );
}

/** `2026-01-02 03:04 UTC` of what `Date.toISOString()` writes. */
function moment(created: string | undefined): string | undefined {
  const [, day, time] = /^(\d{4}-\d\d-\d\d)T(\d\d:\d\d)/.exec(created ?? "") ?? [];
  return day && `${day} ${time} UTC`;
}
