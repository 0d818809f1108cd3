//! Retrieval and answers on XQuAD English, 240 documents and 1,190 questions, through the whole product.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::{Path, PathBuf};
use std::process::Command;

use ragstone_testkit::process::binary;

/// Where the evaluation sets are, when they are there.
fn data(file: &str) -> Option<PathBuf> {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let path = std::env::var_os("RAGSTONE_EVAL_DATA").map_or(default, PathBuf::from).join(file);
    path.is_file().then_some(path)
}

#[test]
fn xquad_english() {
    let Some(dataset) = data("xquad/xquad.en.json") else {
        eprintln!("skipped: xquad/xquad.en.json is not there (RAGSTONE_EVAL_DATA names the folder)");
        return;
    };
    let output = Command::new(binary("ragstone").unwrap())
        .arg("eval")
        .arg(dataset)
        .arg("--json")
        .env_remove("RAGSTONE_URL")
        .env("RAGSTONE__RETRIEVAL__EDGE__SHARD_TIMEOUT_MS", "20000")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    eprintln!("{report:#}");
    assert_eq!((&report["documents"], &report["questions"]), (&240.into(), &1190.into()));
    let hybrid = report["retrieval"]["hybrid"]["ndcg_at_k"].as_f64().unwrap();
    assert!(hybrid >= 0.93, "nDCG@10 of hybrid search is {hybrid}");
    let contained = report["answers"]["contains_gold"].as_f64().unwrap();
    assert!(contained >= 0.65, "{contained} of the answers contain the gold answer");
}
