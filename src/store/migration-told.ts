import { type DurationMs, seconds } from "../domain/time.ts";
import type { Emit } from "../telemetry/events.ts";
import type { MigrationProgress, TellMigration } from "./engine/migration.ts";

/** How often a migration is reported: it moves many slices a second. One that is quicker than this is not news. */
const everyMs: DurationMs = seconds(2);

/** What a migration does now, for people. */
export function migrationText({ step, done, total, waitsFor }: MigrationProgress): string {
  const far = done === undefined ? "" : ` ${grouped(done)}${total === undefined ? "" : ` of ${grouped(total)}`}`;
  return `migrating the store: ${step}${far}${waitsFor === undefined ? "" : `, waits for ${waitsFor}`}`;
}

const grouped = (count: number): string => String(count).replaceAll(/\B(?=(?:\d{3})+$)/g, ",");

/** Passes on what a migration tells, every few seconds; at once, when it begins to wait. */
export function everyFewSeconds(mono: () => number, tell: TellMigration): TellMigration {
  let toldAt = mono();
  let waited = false;
  return (progress) => {
    const now = mono();
    const waits = progress.waitsFor !== undefined;
    if (now - toldAt < everyMs && (waited || !waits)) return;
    toldAt = now;
    waited = waits;
    tell(progress);
  };
}

/** Tells a migration as events, and how long it took when `finished` is called. */
export function migrationEvents({ emit, mono }: { readonly emit: Emit; readonly mono: () => number }): {
  readonly tell: TellMigration;
  readonly finished: () => void;
} {
  const began = mono();
  let schema: number | undefined;
  const tell = everyFewSeconds(mono, (progress) => {
    const { schema: to, step, done, total, waitsFor } = progress;
    emit("migration.advanced", {
      schema: to,
      step,
      done: done ?? null,
      total: total ?? null,
      waitsFor: waitsFor ?? null,
      message: migrationText(progress),
    });
  });
  return {
    tell: (progress) => {
      ({ schema } = progress);
      tell(progress);
    },
    finished: () => {
      if (schema !== undefined) emit("migration.finished", { schema, tookMs: mono() - began });
    },
  };
}
