//! The chain of a tenant's audit log: each entry's hash covers the entry and the hash before it.

use ragstone_core::{AuditEntry, TenantId};

use crate::clock::to_millis;

/// What the first entry follows.
pub(crate) const START: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// Told apart from every other use of the hash, and from later forms of this one.
const FORM: &str = "ragstone audit entry 1";

/// The hash of `entry`, whose own `hash` does not count. Every part is preceded by its length, so that none can pass for
/// another.
pub(crate) fn hash(tenant: &TenantId, entry: &AuditEntry) -> String {
    let mut hasher = blake3::Hasher::new();
    let mut part = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_be_bytes());
        hasher.update(bytes);
    };
    part(FORM.as_bytes());
    part(tenant.as_str().as_bytes());
    part(&entry.seq.to_be_bytes());
    part(&to_millis(entry.at).to_be_bytes());
    part(entry.subject.as_bytes());
    part(entry.action.as_str().as_bytes());
    part(entry.object_id.as_bytes());
    part(&entry.version.map(u64::to_be_bytes).map_or(Vec::new(), Vec::from));
    part(entry.request_id.as_bytes());
    // An answer without an id and no answer differ by their action.
    part(entry.query_id.as_deref().unwrap_or_default().as_bytes());
    part(&(entry.documents.len() as u64).to_be_bytes());
    for read in &entry.documents {
        part(read.document_id.as_str().as_bytes());
        part(&read.version.to_be_bytes());
    }
    part(entry.detail.as_bytes());
    part(entry.prev_hash.as_bytes());
    hasher.finalize().to_hex().to_string()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use std::time::{Duration, UNIX_EPOCH};

    use ragstone_core::{AuditAction, DocumentId, DocumentRead};

    use super::*;

    fn entry() -> AuditEntry {
        let read = |id: &str, version| DocumentRead { document_id: DocumentId::new(id).unwrap(), version };
        AuditEntry {
            seq: 7,
            at: UNIX_EPOCH + Duration::from_millis(1_800_000_000_123),
            subject: "ann".into(),
            action: AuditAction::Answer,
            object_id: "q".into(),
            version: Some(3),
            request_id: "r".into(),
            query_id: Some("q".into()),
            documents: vec![read("a", 1), read("b", 2)],
            detail: "embed.lexical_only".into(),
            prev_hash: START.into(),
            hash: String::new(),
        }
    }

    #[test]
    fn every_field_counts_and_none_can_pass_for_another() {
        let tenant = TenantId::new("t").unwrap();
        let changes: [fn(&mut AuditEntry); 14] = [
            |e| e.seq += 1,
            |e| e.at += Duration::from_millis(1),
            |e| e.subject.push('x'),
            |e| e.action = AuditAction::KeyCreate,
            |e| e.object_id.push('x'),
            |e| e.version = None,
            |e| e.version = Some(4),
            |e| e.request_id.push('x'),
            |e| e.query_id = None,
            |e| _ = e.documents.pop(),
            |e| e.documents.swap(0, 1),
            |e| e.documents[0].version += 1,
            |e| e.detail.clear(),
            |e| e.prev_hash.replace_range(..1, "1"),
        ];
        let mut seen = vec![hash(&tenant, &entry()), hash(&TenantId::new("u").unwrap(), &entry())];
        for change in changes {
            let mut changed = entry();
            change(&mut changed);
            seen.push(hash(&tenant, &changed));
        }
        // A character that moves from one field to its neighbour.
        let moved = AuditEntry { object_id: String::new(), request_id: "qr".into(), ..entry() };
        seen.push(hash(&tenant, &moved));
        let count = seen.len();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), count);
        let hashed = AuditEntry { hash: "anything".into(), ..entry() };
        assert_eq!(hash(&tenant, &hashed), hash(&tenant, &entry()));
    }

    #[test]
    fn the_encoding_stays_as_it_is() {
        // Logs that were written with it are verified with it.
        let tenant = TenantId::new("t").unwrap();
        assert_eq!(hash(&tenant, &entry()), "8b1c37ad1a28bc01c8c5948f305cb67509682e614d218f25f54afa68b2d2d0a5");
    }
}
