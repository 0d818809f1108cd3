//! Whose turn it is: the part of the question that both databases are asked alike. Whoever uses these macros brings
//! `active_jobs` along.

/// The most urgent job of the tenant `w` with this rank that is due and whose document no other job is at work on.
macro_rules! head {
    ($rank:literal) => {
        concat!(
            "(SELECT j.seq FROM ",
            active_jobs!("j"),
            " WHERE j.status IN ('queued', 'running') AND j.tenant = w.tenant AND j.priority = ",
            $rank,
            " AND j.wake_at <= $1 \
             AND NOT EXISTS (SELECT 1 FROM jobs o WHERE o.tenant = j.tenant AND o.document_id = j.document_id \
                             AND o.status = 'running' AND o.seq <> j.seq) \
             ORDER BY j.wake_at, j.seq LIMIT 1)"
        )
    };
}

/// Begins a query with the common table `turns`: of every tenant with jobs, the one that goes next (`seq`, or nothing when
/// none is due) and how many the tenant has running. The most urgent goes first, then the one that has been due longest:
/// that is the order of acceptance, except that a job that went back to the queue lets the others go first. A lease that
/// ended is due like a queued job. `$1` is now.
///
/// `waiting` walks the tenants with one index step each instead of reading the whole queue.
macro_rules! with_turns {
    () => {
        concat!(
            "WITH RECURSIVE waiting (tenant) AS ( \
                SELECT min(j.tenant) FROM ",
            active_jobs!("j"),
            " WHERE j.status IN ('queued', 'running') \
                UNION ALL \
                SELECT (SELECT min(j.tenant) FROM ",
            active_jobs!("j"),
            " WHERE j.status IN ('queued', 'running') AND j.tenant > w.tenant) \
                FROM waiting w WHERE w.tenant IS NOT NULL \
            ), turns (seq, running) AS MATERIALIZED ( \
                SELECT coalesce(",
            head!(2),
            ", ",
            head!(1),
            ", ",
            head!(0),
            "), (SELECT count(*) FROM jobs r WHERE r.tenant = w.tenant AND r.status = 'running' AND r.wake_at > $1) \
                FROM waiting w WHERE w.tenant IS NOT NULL \
            ) "
        )
    };
}

pub(super) use {head, with_turns};
