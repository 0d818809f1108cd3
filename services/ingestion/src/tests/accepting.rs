//! What is accepted, what is refused, and what counts as the same.

use bytes::Bytes;
use futures::stream;
use ragstone_core::{ErrorCode, Metadata};

use super::fixture::{Fixture, asker, offer};
use crate::Config;
use crate::accept::Offer;

async fn refused(f: &Fixture, offer: Offer, body: &[u8]) -> ErrorCode {
    f.offer(offer, body).await.unwrap_err().code
}

#[tokio::test]
async fn bad_offers_are_refused_with_their_code() {
    let f = Fixture::new().await;
    let plain = || offer("d", "text/plain");
    let many = (0..101).map(|n| n.to_string()).collect();
    let cases = [
        (offer(" d", "text/plain"), ErrorCode::InvalidArgument),
        (offer("d", "image/png"), ErrorCode::UnsupportedMediaType),
        (offer("d", ""), ErrorCode::UnsupportedMediaType),
        (Offer { title: "x".repeat(501), ..plain() }, ErrorCode::InvalidArgument),
        (Offer { title: "a\u{7}b".into(), ..plain() }, ErrorCode::InvalidArgument),
        (
            Offer { metadata: Metadata::from_iter([("a.b".to_owned(), 1.into())]), ..plain() },
            ErrorCode::InvalidArgument,
        ),
        (Offer { groups: vec![String::new()], ..plain() }, ErrorCode::InvalidArgument),
        (Offer { groups: many, ..plain() }, ErrorCode::InvalidArgument),
        (Offer { if_version: Some(7), ..plain() }, ErrorCode::Conflict),
    ];
    for (offer, code) in cases {
        assert_eq!(refused(&f, offer.clone(), b"text").await, code, "{offer:?}");
    }
    assert_eq!(refused(&f, plain(), b"").await, ErrorCode::Unprocessable);
    assert_eq!(refused(&f, plain(), &[b'x'; 4097]).await, ErrorCode::TooLarge);
    f.offer(plain(), &[b'x'; 4096]).await.unwrap();
}

#[tokio::test]
async fn too_large_is_said_before_the_rest_arrives() {
    let f = Fixture::new().await;
    let endless = stream::repeat_with(|| Ok(Bytes::from_static(&[b'x'; 1000])));
    let error = f.acceptor.accept(asker(), offer("d", "text/plain"), endless, None).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::TooLarge);
    assert_eq!(f.bodies(), 0);
}

#[tokio::test]
async fn uploads_share_a_bounded_memory() {
    let f = Fixture::with(Config { max_document_bytes: 1 << 20, ..Config::default() }).await;
    let half_full = || {
        let first = stream::iter([Ok(Bytes::from(vec![b'x'; 1 << 20]))]);
        futures::StreamExt::chain(first, stream::pending())
    };
    let mut held = Vec::new();
    for n in 0..4 {
        let upload = f.acceptor.accept(asker(), offer(&format!("d{n}"), "text/plain"), half_full(), None);
        let mut upload = Box::pin(upload);
        assert!(futures::poll!(&mut upload).is_pending());
        held.push(upload);
    }
    assert_eq!(refused(&f, offer("e", "text/plain"), b"text").await, ErrorCode::RateLimited);
    held.pop();
    f.offer(offer("e", "text/plain"), b"text").await.unwrap();
}

#[tokio::test]
async fn the_same_is_skipped_and_every_difference_counts() {
    let f = Fixture::new().await;
    let first = Offer { title: "T".into(), groups: vec!["b".into(), "a".into()], ..offer("d", "text/plain") };
    let accepted = f.offer(first.clone(), b"text").await.unwrap();
    let same = Offer {
        title: " T ".into(),
        groups: vec!["a".into(), "b".into(), "a".into()],
        media_type: "Text/Plain; charset=utf-8".into(),
        ..first.clone()
    };
    let again = f.offer(same, b"text").await.unwrap();
    assert!(again.unchanged);
    assert_eq!(again.job.id, accepted.job.id);
    let others = [
        (first.clone(), b"texT".as_slice()),
        (Offer { title: "U".into(), ..first.clone() }, b"text"),
        (Offer { media_type: "text/markdown".into(), ..first.clone() }, b"text"),
        (Offer { metadata: Metadata::from_iter([("k".to_owned(), 1.into())]), ..first.clone() }, b"text"),
        (Offer { groups: vec!["ab".into()], ..first.clone() }, b"text"),
    ];
    for (version, (offer, body)) in (2..).zip(others) {
        let accepted = f.offer(offer, body).await.unwrap();
        assert_eq!((accepted.unchanged, accepted.job.version), (false, version));
    }
}

#[tokio::test]
async fn without_an_id_the_content_names_the_document() {
    let f = Fixture::new().await;
    let one = f.offer(offer("", "text/plain"), b"text").await.unwrap().job;
    let two = f.offer(offer("", "text/plain"), b"text").await.unwrap();
    assert_eq!(one.document_id.as_str(), blake3::hash(b"text").to_hex().as_str());
    assert!(two.unchanged);
}

#[tokio::test]
async fn an_idempotency_key_stands_for_the_whole_request() {
    let f = Fixture::new().await;
    let first = Offer {
        idempotency_key: "k".into(),
        title: "T".into(),
        groups: vec!["a".into()],
        if_version: Some(0),
        ..offer("d", "text/plain")
    };
    let accepted = f.offer(first.clone(), b"text").await.unwrap();
    f.work().await;
    // Neither how it is written nor the precondition, which is no longer true, makes it another request.
    for same in [
        first.clone(),
        Offer { media_type: "Text/Plain; charset=utf-8".into(), title: " T".into(), ..first.clone() },
        Offer { if_version: None, ..first.clone() },
        Offer { priority: ragstone_core::Priority::Low, ..first.clone() },
    ] {
        let again = f.offer(same, b"text").await.unwrap();
        assert_eq!((again.job.id, again.unchanged), (accepted.job.id, false));
    }
    for other in [
        Offer { document_id: "e".into(), ..first.clone() },
        Offer { title: "U".into(), ..first.clone() },
        Offer { media_type: "text/markdown".into(), ..first.clone() },
        Offer { metadata: Metadata::from_iter([("k".to_owned(), 1.into())]), ..first.clone() },
        Offer { groups: vec!["b".into()], ..first.clone() },
    ] {
        assert_eq!(refused(&f, other.clone(), b"text").await, ErrorCode::Unprocessable, "{other:?}");
    }
    assert_eq!(refused(&f, first.clone(), b"texT").await, ErrorCode::Unprocessable);
    for bad in ["a b", "ä", &"x".repeat(256)] {
        let offer = Offer { idempotency_key: bad.into(), ..first.clone() };
        assert_eq!(refused(&f, offer, b"text").await, ErrorCode::InvalidArgument, "{bad}");
    }
    assert_eq!(f.document("d").await.version, 1);
}

#[tokio::test]
async fn an_idempotency_key_outlives_other_settings() {
    let f = Fixture::new().await;
    let keyed = || Offer { idempotency_key: "k".into(), ..offer("d", "text/plain") };
    let first = f.offer(keyed(), b"text").await.unwrap().job;
    let f = f.with_settings(Config { chunk_tokens: 64, ..Config::default() });
    assert_eq!(f.offer(keyed(), b"text").await.unwrap().job.id, first.id);
    assert!(!f.offer(offer("d", "text/plain"), b"text").await.unwrap().unchanged, "settings make another version");
}
