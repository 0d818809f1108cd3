//! `Idempotency-Key`: a write that is sent again is carried out once.

use std::collections::BTreeSet;

use ragstone_proto::v1;
use ragstone_testkit::client::{Answer, Client};
use serde_json::Value;

use crate::world::{ALL, Grpc, channel, client, grpc, stack, token};

async fn put(client: &Client, id: &str, key: &str, text: &str) -> Answer {
    let request = client.http().put(client.url(&format!("/v1/documents/{id}")));
    let request = request.header("idempotency-key", key).header("content-type", "text/plain").body(text.to_owned());
    client.send(request).await.unwrap()
}

async fn versions(client: &Client, id: &str) -> usize {
    let history = client.get(&format!("/v1/documents/{id}/history")).await.unwrap().expect_status(200).unwrap();
    history["items"].as_array().unwrap().len()
}

fn same(one: &Value, other: &Value) {
    for field in ["document_id", "version", "job_id"] {
        assert_eq!(one[field], other[field], "{one} {other}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_is_sent_again_is_carried_out_once() {
    let stack = stack(&[]).await;
    let ada = client(&stack, &token("acme", "ada", &ALL, &[]));
    let first = put(&ada, "a", "key-1", "The first text.").await.expect_status(202).unwrap();
    ada.finished_job(first["job_id"].as_str().unwrap()).await.unwrap();
    put(&ada, "a", "key-2", "The second text.").await.expect_status(202).unwrap();
    // Without its key this would be a third version.
    let again = put(&ada, "a", "key-1", "The first text.").await.expect_status(202).unwrap();
    same(&first, &again);
    assert_eq!(versions(&ada, "a").await, 2);
    for (id, text) in [("a", "Another text."), ("b", "The first text.")] {
        let refused = put(&ada, id, "key-1", text).await.expect_status(422).unwrap();
        assert!(refused["detail"].as_str().unwrap().to_lowercase().contains("idempotency"), "{refused}");
    }
    assert_eq!(versions(&ada, "a").await, 2);
    ada.get("/v1/documents/b").await.unwrap().expect_status(404).unwrap();
    // Another tenant's keys are others.
    let other = client(&stack, &token("other", "ada", &ALL, &[]));
    let theirs = put(&other, "a", "key-1", "Their text.").await.expect_status(202).unwrap();
    assert_ne!(theirs["job_id"], first["job_id"]);

    let delete = async || {
        let request = ada.http().delete(ada.url("/v1/documents/a")).header("idempotency-key", "key-3");
        ada.send(request).await.unwrap().expect_status(202).unwrap()
    };
    let gone = delete().await;
    ada.finished_job(gone["job_id"].as_str().unwrap()).await.unwrap();
    same(&gone, &delete().await);
    let mut bob = grpc(&channel(&stack.url()).await, &token("acme", "bob", &ALL, &[]));
    over_grpc(&mut bob).await;
    stack.stop().await.unwrap();
}

async fn over_grpc(grpc: &mut Grpc) {
    let mut put = async |text: &str| {
        let header = v1::DocumentHeader {
            document_id: "g".to_owned(),
            media_type: "text/plain".to_owned(),
            ..v1::DocumentHeader::default()
        };
        let parts = [
            v1::put_document_request::Part::Header(header),
            v1::put_document_request::Part::Data(text.as_bytes().to_vec()),
        ];
        let parts = parts.map(|part| v1::PutDocumentRequest { part: Some(part) });
        let mut request = tonic::Request::new(futures::stream::iter(parts));
        request.metadata_mut().insert("idempotency-key", "key-g".parse().unwrap());
        grpc.put_document(request).await
    };
    let first = put("A text over gRPC.").await.unwrap().into_inner().job.unwrap();
    let again = put("A text over gRPC.").await.unwrap().into_inner().job.unwrap();
    assert_eq!((first.job_id, first.version), (again.job_id, again.version));
    let refused = put("Another text over gRPC.").await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::FailedPrecondition, "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_at_once_with_one_key_one_is_carried_out() {
    let stack = stack(&[]).await;
    let ada = client(&stack, &token("acme", "ada", &ALL, &[]));
    for round in 0..5 {
        let (id, key) = (format!("c{round}"), format!("key-{round}"));
        // Different bodies: equal ones would make one version without any key.
        let texts: Vec<String> = (0..8).map(|n| format!("Text {n} of round {round}.")).collect();
        let answers = futures::future::join_all(texts.iter().map(|text| put(&ada, &id, &key, text))).await;
        let statuses: Vec<u16> = answers.iter().map(|answer| answer.status.as_u16()).collect();
        assert_eq!(statuses.iter().filter(|status| **status == 202).count(), 1, "{statuses:?}");
        assert!(statuses.iter().all(|status| [202, 409, 422].contains(status)), "{statuses:?}");
        assert_eq!(versions(&ada, &id).await, 1, "{statuses:?}");
        let other_key = format!("{key}-same");
        let same = futures::future::join_all((0..8).map(|_| put(&ada, &id, &other_key, "Equal."))).await;
        let jobs: BTreeSet<String> = same.into_iter().map(|answer| answer.body["job_id"].to_string()).collect();
        assert_eq!((jobs.len(), versions(&ada, &id).await), (1, 2), "{jobs:?}");
    }
    stack.stop().await.unwrap();
}
