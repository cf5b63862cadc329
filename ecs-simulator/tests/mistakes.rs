//! What users of the simulator's command get wrong, by its sentence and exit status.

use std::process::Command;

#[test]
fn each_mistake_is_told_in_a_sentence_and_by_the_exit_status() {
    for (arguments, sentence) in [
        ("absent.json", "error: cannot read snapshot absent.json: No such file or directory"),
        ("Cargo.toml", "error: cannot use snapshot Cargo.toml: not a JSON document"),
        (
            "--listen 0.0.0.0:5555",
            "error: --listen 0.0.0.0:5555 is not a loopback address; to listen on it, give by --host the name",
        ),
        (
            "--listen 5555",
            "invalid value '5555' for '--listen <ADDRESS:PORT>': not an address and a port, as localhost:8080",
        ),
        ("--speed 0", "error: --speed 0 is not above 0 and at most 86400"),
        ("--fault lost=0.1", "error: there is no fault \"lost\"; there are throttle,"),
        ("--behaviour ties=any", "error: behaviour ties can be random, first, last,"),
        ("--port 5555", "unexpected argument '--port' found"),
    ] {
        let words = arguments.split_whitespace();
        let output = Command::new(env!("CARGO_BIN_EXE_ecs-simulator")).args(words).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments}: {told}");
        assert!(told.contains(sentence), "{arguments}: {told}");
        assert!(!told.contains("backtrace"), "{arguments}: {told}");
    }
}
