//! How the binaries start, refuse to start, and stop.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::process::{Command, Output};

use ragstone_testkit::process::binary;
use ragstone_testkit::stack::{Form, SERVICES, Stack};

/// Runs a binary to its end in an empty directory with a clean environment.
fn run(name: &str, args: &[&str], env: &[(&str, &str)]) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(binary(name).unwrap());
    command.args(args).env_clear().envs(env.iter().copied()).current_dir(dir.path()).output().unwrap()
}

fn refused(output: &Output, says: &str) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{errors}");
    assert!(errors.contains(says), "{says}: {errors}");
}

#[test]
fn every_binary_refuses_an_unknown_key_by_name() {
    for service in SERVICES {
        let variable = format!("RAGSTONE__{}__LISTEM", service.to_uppercase());
        refused(&run(&format!("ragstone-{service}"), &[], &[(&variable, "x")]), "listem");
    }
    refused(&run("ragstone", &["up"], &[("RAGSTONE__GATEWAY__LISTEM", "x")]), "listem");
    refused(&run("ragstone", &["up"], &[("RAGSTONE__GATEWEY__LISTEN", "x")]), "gatewey");
}

#[test]
fn an_open_port_without_authentication_is_refused() {
    refused(&run("ragstone", &["up", "--listen", "0.0.0.0:8080"], &[]), "0.0.0.0:8080");
    refused(&run("ragstone-gateway", &["--listen", "0.0.0.0:8080"], &[]), "0.0.0.0:8080");
}

#[test]
fn a_missing_or_broken_file_is_refused() {
    refused(&run("ragstone", &["up", "--config", "none.toml"], &[]), "none.toml");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("broken.toml");
    std::fs::write(&path, "[gateway\n").unwrap();
    refused(&run("ragstone", &["up", "--config", path.to_str().unwrap()], &[]), "broken.toml");
}

#[test]
fn the_dump_is_a_configuration_that_loads() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dump.toml");
    let first = run("ragstone", &["up", "--dump-config"], &[("RAGSTONE__EMBEDDING__CACHE__MEMORY_BYTES", "12345")]);
    assert!(first.status.success());
    std::fs::write(&path, &first.stdout).unwrap();
    let second = run("ragstone", &["up", "--dump-config", "--config", path.to_str().unwrap()], &[]);
    assert!(second.status.success(), "{}", String::from_utf8_lossy(&second.stderr));
    let text = String::from_utf8(second.stdout).unwrap();
    assert!(text.contains("memory_bytes = 12345"), "{text}");
    assert_eq!(text.as_bytes(), first.stdout, "a dump of a dump is the same");
    for service in SERVICES {
        assert!(run(&format!("ragstone-{service}"), &["--dump-config"], &[]).status.success(), "{service}");
    }
}

#[test]
fn a_port_clash_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = run("ragstone", &["up", "--listen", &address], &[]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains(&address), "{errors}");
}

#[test]
fn a_missing_model_is_named_with_the_remedy() {
    let empty = tempfile::tempdir().unwrap();
    let output = run(
        "ragstone",
        &["up", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"],
        &[("RAGSTONE_MODELS", empty.path().to_str().unwrap())],
    );
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("ragstone models pull"), "{errors}");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_in_one_stops_cleanly() {
    Stack::start(Form::AllInOne).await.unwrap().stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn five_processes_stop_cleanly() {
    Stack::start(Form::FiveProcesses).await.unwrap().stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_is_ready_as_long_as_something_can_be_found() {
    let mut stack = Stack::start(Form::FiveProcesses).await.unwrap();
    let readyz = format!("{}/readyz", stack.admin_url("gateway"));
    let asked = async || {
        let answer = reqwest::get(&readyz).await.unwrap();
        let status = answer.status().as_u16();
        let body: serde_json::Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        let down = body["checks"].as_array().unwrap().iter().filter(|check| check["state"] == "down");
        (status, down.map(|check| check["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>())
    };
    stack.process("retrieval").unwrap().kill().await.unwrap();
    assert_eq!(asked().await, (200, vec!["retrieval".to_owned()]), "the catalog can be searched by words");
    stack.process("ingestion").unwrap().kill().await.unwrap();
    let (status, down) = asked().await;
    assert_eq!((status, down.contains(&"search".to_owned())), (503, true), "{down:?}");
    stack.spawn("retrieval").unwrap();
    stack.spawn("ingestion").unwrap();
    stack.ready().await.unwrap();
}
