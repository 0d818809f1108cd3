//! Callers, their groups, keys, audit log and feedback, over gRPC.

use ragstone_core::ErrorCode;
use ragstone_proto::v1::accept_document_request::Part;
use ragstone_proto::v1::{self, Rating, Scope};
use ragstone_rpc::error_from;
use tonic::{Response, Status};

use super::Service;

fn caller(tenant: &str, subject: &str, groups: &[&str]) -> Option<v1::Caller> {
    let groups = groups.iter().map(|group| (*group).to_owned()).collect();
    let access = v1::Access { tenant: tenant.into(), all_groups: false, groups };
    Some(v1::Caller { access: Some(access), subject: subject.into(), request_id: "r-7".into() })
}

fn code<T>(outcome: Result<Response<T>, Status>) -> ErrorCode {
    match outcome {
        Ok(_) => panic!("that should have been refused"),
        Err(status) => error_from(status).code,
    }
}

impl Service {
    async fn put_as(
        &mut self,
        caller: Option<v1::Caller>,
        id: &str,
        body: &[u8],
        key: &str,
    ) -> Result<Response<v1::AcceptDocumentResponse>, Status> {
        let document = v1::DocumentHeader {
            document_id: id.into(),
            media_type: "text/plain".into(),
            groups: vec!["staff".into()],
            ..Default::default()
        };
        let header = v1::AcceptHeader { caller, document: Some(document), idempotency_key: key.into() };
        let parts = [Part::Header(header), Part::Data(body.to_vec())];
        let parts = parts.map(|part| v1::AcceptDocumentRequest { part: Some(part) });
        self.client.accept_document(tokio_stream::iter(parts)).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_caller_may_not_read_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let mut s = Service::start(dir.path(), "http://127.0.0.1:1").await;
    let (ann, bob) = (caller("t", "ann", &["staff"]), caller("t", "bob", &["board"]));
    let job = s.put_as(ann.clone(), "d", b"words", "").await.unwrap().into_inner().job.unwrap();
    let (id, job_id) = ("d".to_owned(), job.job_id);
    for (who, there) in [(&ann, true), (&bob, false), (&caller("u", "ann", &["staff"]), false)] {
        let (who, id, job_id) = (who.clone(), id.clone(), job_id.clone());
        let found = [
            s.client
                .read_document(v1::ReadDocumentRequest { caller: who.clone(), document_id: id.clone() })
                .await
                .err(),
            s.client.read_history(v1::ReadHistoryRequest { caller: who.clone(), document_id: id.clone() }).await.err(),
            s.client.read_job(v1::ReadJobRequest { caller: who.clone(), job_id: job_id.clone() }).await.err(),
        ];
        let outcomes = found.map(|refused| refused.is_none_or(|status| error_from(status).code != ErrorCode::NotFound));
        assert_eq!(outcomes, [there; 3]);
        let scan = v1::ScanDocumentsRequest { caller: who.clone(), ..Default::default() };
        assert_eq!(s.client.scan_documents(scan).await.unwrap().into_inner().documents.len(), usize::from(there));
        let scan = v1::ScanJobsRequest { caller: who.clone(), ..Default::default() };
        assert_eq!(s.client.scan_jobs(scan).await.unwrap().into_inner().jobs.len(), usize::from(there));
        let mut states = s
            .client
            .follow_job(v1::FollowJobRequest { caller: who.clone(), job_id: job_id.clone() })
            .await
            .unwrap()
            .into_inner();
        assert_eq!(states.message().await.is_ok(), there);
        let retried = code(s.client.retry_job(v1::RetryJobRequest { caller: who.clone(), job_id }).await);
        assert_eq!(retried, if there { ErrorCode::Conflict } else { ErrorCode::NotFound });
        let text = v1::ReadTextRequest { caller: who, document_id: id, ..Default::default() };
        assert_eq!(code(s.client.read_text(text).await), ErrorCode::NotFound, "nothing is live");
    }
    assert_eq!(code(s.put_as(bob.clone(), "d", b"mine", "").await), ErrorCode::PermissionDenied);
    let remove = v1::TombstoneDocumentRequest { caller: bob, document_id: id.clone(), ..Default::default() };
    assert_eq!(code(s.client.tombstone_document(remove).await), ErrorCode::NotFound);
    for nobody in [None, Some(v1::Caller { access: None, ..ann.clone().unwrap() }), caller("t", "", &[])] {
        let read = v1::ReadDocumentRequest { caller: nobody, document_id: id.clone() };
        assert_eq!(code(s.client.read_document(read).await), ErrorCode::InvalidArgument);
    }
    s.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_key_gets_the_same_answer() {
    let dir = tempfile::tempdir().unwrap();
    let mut s = Service::start(dir.path(), "http://127.0.0.1:1").await;
    let ann = caller("t", "ann", &["staff"]);
    let first = s.put_as(ann.clone(), "d", b"one", "k").await.unwrap().into_inner();
    s.put_as(ann.clone(), "d", b"two", "").await.unwrap();
    let again = s.put_as(ann.clone(), "d", b"one", "k").await.unwrap().into_inner();
    assert_eq!(again.job.unwrap().job_id, first.job.unwrap().job_id);
    assert_eq!(code(s.put_as(ann.clone(), "d", b"three", "k").await), ErrorCode::Unprocessable);
    assert_eq!(code(s.put_as(ann.clone(), "d", b"three", "not a key").await), ErrorCode::InvalidArgument);
    let remove = v1::TombstoneDocumentRequest {
        caller: ann.clone(),
        document_id: "d".into(),
        if_version: None,
        idempotency_key: "l".into(),
    };
    let removal = s.client.tombstone_document(remove.clone()).await.unwrap().into_inner().job.unwrap();
    let again = s.client.tombstone_document(remove.clone()).await.unwrap().into_inner().job.unwrap();
    assert_eq!((removal.version, again.job_id), (3, removal.job_id));
    let other = v1::TombstoneDocumentRequest { document_id: "e".into(), ..remove };
    assert_eq!(code(s.client.tombstone_document(other).await), ErrorCode::Unprocessable);
    s.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_audit_log_and_feedback() {
    let dir = tempfile::tempdir().unwrap();
    let mut s = Service::start(dir.path(), "http://127.0.0.1:1").await;
    let root = caller("t", "root", &["staff"]);
    let new = v1::CreateKeyRequest {
        caller: root.clone(),
        id: "k1".into(),
        hash: "h".into(),
        subject: "robot".into(),
        scopes: vec![Scope::Query.into()],
        groups: vec!["staff".into()],
        ..Default::default()
    };
    s.access.create_key(new.clone()).await.unwrap();
    assert_eq!(code(s.access.create_key(new.clone()).await), ErrorCode::Conflict);
    for bad in [
        v1::CreateKeyRequest { id: "k2".into(), scopes: vec![], ..new.clone() },
        v1::CreateKeyRequest { id: "k2".into(), scopes: vec![0], ..new.clone() },
        v1::CreateKeyRequest { id: "k2".into(), all_groups: true, ..new.clone() },
        v1::CreateKeyRequest { id: "k2".into(), caller: None, ..new },
    ] {
        assert_eq!(code(s.access.create_key(bad).await), ErrorCode::InvalidArgument);
    }
    let found = s.access.find_key(v1::FindKeyRequest { id: "k1".into() }).await.unwrap().into_inner();
    let key = found.key.unwrap();
    assert_eq!((key.subject.as_str(), key.created_by.as_str(), found.hash.as_str()), ("robot", "root", "h"));
    assert_eq!(key.access, caller("t", "", &["staff"]).unwrap().access);
    assert_eq!(code(s.access.find_key(v1::FindKeyRequest { id: "k2".into() }).await), ErrorCode::NotFound);
    let revoke = v1::RevokeKeyRequest { caller: root.clone(), id: "k1".into() };
    assert!(s.access.revoke_key(revoke.clone()).await.unwrap().into_inner().key.unwrap().revoked_at.is_some());
    let theirs = v1::RevokeKeyRequest { caller: caller("u", "root", &[]), ..revoke };
    assert_eq!(code(s.access.revoke_key(theirs).await), ErrorCode::NotFound);
    let list = v1::ListKeysRequest { caller: root.clone(), ..Default::default() };
    assert_eq!(s.access.list_keys(list).await.unwrap().into_inner().keys.len(), 1);

    let documents = vec![v1::DocumentRead { document_id: "d".into(), version: 4 }];
    let answer = v1::AnswerRecord { caller: root.clone(), query_id: "q".into(), documents, ..Default::default() };
    let answers = v1::RecordAnswersRequest { answers: vec![answer] };
    assert_eq!(s.access.record_answers(answers.clone()).await.unwrap().into_inner().recorded, 1);
    assert_eq!(s.access.record_answers(answers).await.unwrap().into_inner().recorded, 0);
    let read = v1::ReadAuditRequest { caller: root.clone(), ..Default::default() };
    let entries = s.access.read_audit(read.clone()).await.unwrap().into_inner().entries;
    let seen: Vec<_> =
        entries.iter().map(|e| (e.action.as_str(), e.object_kind.as_str(), e.object_id.as_str())).collect();
    assert_eq!(seen, [("key.create", "key", "k1"), ("key.revoke", "key", "k1"), ("answer", "query", "q")]);
    assert_eq!((entries[2].request_id.as_str(), entries[2].documents[0].version), ("r-7", 4));
    let answers = v1::ReadAuditRequest { action: "answer".into(), ..read.clone() };
    assert_eq!(s.access.read_audit(answers).await.unwrap().into_inner().entries.len(), 1);
    let nonsense = v1::ReadAuditRequest { action: "dance".into(), ..read };
    assert_eq!(code(s.access.read_audit(nonsense).await), ErrorCode::InvalidArgument);
    let check = s.access.verify_audit(v1::VerifyAuditRequest { caller: root.clone() }).await.unwrap().into_inner();
    assert_eq!((check.entries, check.first_broken, &check.hash), (3, None, &entries[2].hash));

    let rate = v1::GiveFeedbackRequest {
        caller: root,
        query_id: "q".into(),
        rating: Rating::Down.into(),
        comment: "no".into(),
    };
    s.access.give_feedback(rate.clone()).await.unwrap();
    let unrated = v1::GiveFeedbackRequest { rating: 0, ..rate.clone() };
    assert_eq!(code(s.access.give_feedback(unrated).await), ErrorCode::InvalidArgument);
    let theirs = v1::GiveFeedbackRequest { caller: caller("u", "root", &[]), ..rate };
    assert_eq!(code(s.access.give_feedback(theirs).await), ErrorCode::NotFound);
    let summary = s.access.read_feedback_summary(v1::ReadFeedbackSummaryRequest::default()).await.unwrap().into_inner();
    assert_eq!((summary.up, summary.down), (0, 1));
    s.stop().await;
}
