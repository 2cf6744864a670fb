import { changesBetween, type LiveChange, type LivePatch, type LiveSettings, type LiveValues } from "../config/live-settings.ts";
import type { ActionsStore } from "../store/port/records.ts";
import type { Emit } from "../telemetry/events.ts";

export interface SettingsEditorDeps {
  readonly live: LiveSettings;
  readonly actions: Pick<ActionsStore, "append">;
  readonly emit: Emit;
}

/** Where people read and change what loops read at each tick. */
export interface SettingsEditor {
  read(): LiveValues;
  /**
   * Applies a change whole or not at all and returns what it changed: nothing when all of it is in force already. In force until the daemon
   * ends; the next start uses the configuration.
   * @throws {ConfigError} `config_invalid`, with every mistake; and the store's errors: no change is made without a record.
   */
  change(
    patch: LivePatch,
    by: { readonly actor: string; readonly correlationId: string },
  ): Promise<{ readonly values: LiveValues; readonly changes: readonly LiveChange[] }>;
}

export function createSettingsEditor({ live, actions, emit }: SettingsEditorDeps): SettingsEditor {
  // Changes run one after the other, because the record is written between reading and changing.
  let turn: Promise<unknown> = Promise.resolve();
  const apply: SettingsEditor["change"] = async (patch, { actor, correlationId }) => {
    const changes = changesBetween(live.read(), live.preview(patch));
    if (changes.length === 0) return { values: live.read(), changes };
    const message = changes.map(({ key, from, to }) => `${key} ${JSON.stringify(from)} -> ${JSON.stringify(to)}`).join(", ");
    await actions.append([{ action: "settings.changed", actor, message, evidence: JSON.stringify(changes), correlationId }]);
    const values = live.update(patch);
    emit("settings.changed", { actor, changes });
    return { values, changes };
  };
  return {
    read: () => live.read(),
    change: async (patch, by) => {
      const mine = turn.then(async () => await apply(patch, by));
      // The next change waits for this one, whether or not it succeeds.
      turn = mine.catch(() => undefined);
      return await mine;
    },
  };
}
