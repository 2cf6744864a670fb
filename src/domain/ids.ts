/**
 * Branded identifiers. All row ids are integers; the brand keeps a job id from being passed where a run id is meant.
 * Run ids (and lease fencing numbers) carry the store epoch in their high part, see {@link firstIdOfEpoch}.
 */
declare const brand: unique symbol;
type Branded<T, Name extends string> = T & { readonly [brand]: Name };

export type JobId = Branded<number, "JobId">;
export type RunId = Branded<number, "RunId">;
export type ItemId = Branded<number, "ItemId">;
export type VisitId = Branded<number, "VisitId">;
/** The session of one worker process. */
export type WorkerId = Branded<number, "WorkerId">;
/** A host's identity: a random id kept in the state directory, joined to the machine id. */
export type HostId = Branded<string, "HostId">;
/** The number that says which supervisor of a run may write; starts at 1, raised by one at each take-over. */
export type OwnerEpoch = Branded<number, "OwnerEpoch">;

export const asJobId = (value: number): JobId => value as JobId;
export const asRunId = (value: number): RunId => value as RunId;
export const asItemId = (value: number): ItemId => value as ItemId;
export const asVisitId = (value: number): VisitId => value as VisitId;
export const asWorkerId = (value: number): WorkerId => value as WorkerId;
export const asHostId = (value: string): HostId => value as HostId;
export const asOwnerEpoch = (value: number): OwnerEpoch => value as OwnerEpoch;

/** The epoch of a supervisor that was never replaced. */
export const firstOwnerEpoch: OwnerEpoch = asOwnerEpoch(1);

const idsPerStoreEpoch = 2 ** 40;

/** The id below which no run id or lease fence of this store epoch lies, so that none is ever issued twice after a restore. */
export const firstIdOfEpoch = (storeEpoch: number): number => storeEpoch * idsPerStoreEpoch;

/** The store epoch in which a run id or lease fence was issued. */
export const epochOfId = (id: number): number => Math.floor(id / idsPerStoreEpoch);
