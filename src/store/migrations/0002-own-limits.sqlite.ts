/**
 * Frozen: a store that is in use has run it. Only runs that declare a ceiling store one; the others follow the setting. A column of this
 * engine cannot be freed of its `not null`, so another takes its place.
 */
export const ownLimits = `
alter table runs add column own_max_running_ms integer;
update runs set own_max_running_ms = max_running_ms;
alter table runs drop column max_running_ms;
alter table runs rename column own_max_running_ms to max_running_ms;
create index duplicates_done on duplicates (done_at, id) where done_at is not null;
-- Who watches sessions reads those that ended of late, not all that ever did.
create index workers_ended on workers (ended_at, id) where ended_at is not null;
`;
