/** Frozen: a store that is in use has run it. Only runs that declare a ceiling store one; the others follow the setting. */
export const ownLimits = `
alter table runs alter column max_running_ms drop not null;
create index duplicates_done on duplicates (done_at, id) where done_at is not null;
-- Who watches sessions reads those that ended of late, not all that ever did.
create index workers_ended on workers (ended_at, id) where ended_at is not null;
`;
