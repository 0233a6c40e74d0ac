//! The jobs that back the bank up, try a backup, and restore one.

use super::objects::{Manifests, container, list, name, pod};
use super::reach::claims_of_first_pod;
use super::store;
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// Where jobs find the directory of backups.
const BACKUPS: &str = "/backups/bank";

fn arguments(job: &Value) -> Vec<&str> {
    list(&container(job)["args"]).iter().map(|argument| argument.as_str().expect("text")).collect()
}

fn bankctl() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bankctl"));
    command.env_clear();
    command
}

/// Runs the job's command, with its directories below another one and no bank to ask.
fn exit_code(job: &Value, below: &Path) -> Option<i32> {
    let mut command = bankctl();
    for argument in arguments(job) {
        let here = |path: &str| below.join(path.trim_start_matches('/')).display().to_string();
        command.arg(match argument.split_once('=') {
            Some((flag, path)) if path.starts_with('/') => format!("{flag}={}", here(path)),
            _ if argument.starts_with('/') => here(argument),
            _ => argument.to_owned(),
        });
    }
    // No database either.
    if list(&container(job)["env"]).iter().any(|variable| variable["name"] == "STORE") {
        let password = below.join("password");
        std::fs::write(&password, "secret\n").expect("a file");
        command.env("STORE", "postgres://florin@127.0.0.1:9/florin").env("STORE_PASSWORD_FILE", password);
    }
    let output = command.env("FLORIN_SERVER", "http://127.0.0.1:9").output().expect("it runs");
    output.status.code()
}

pub(crate) fn are_taken(manifests: &Manifests) {
    let names: Vec<&str> = manifests.jobs().map(name).collect();
    let expected = if store::is_shared(manifests) {
        ["bank-backup", "bank-restore-drill", "bank-store-verify"]
    } else {
        ["bank-backup", "bank-restore", "bank-restore-drill"]
    };
    assert_eq!(names, expected);
    for job in manifests.jobs() {
        let below = tempfile::tempdir().expect("a directory");
        // No bank answers, or there are no backups: what was said was understood.
        assert_eq!(exit_code(job, below.path()), Some(69), "{}", name(job));
        let help = bankctl().args([arguments(job)[0], "--help"]).output().expect("it runs");
        let help = String::from_utf8(help.stdout).expect("text");
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        for variable in list(&container(job)["env"]) {
            let variable = variable["name"].as_str().expect("a name");
            // With its value, or without one where it may be a secret.
            let is_known = ["=", "]"].iter().any(|end| help.contains(&format!("[env: {variable}{end}")));
            assert!(is_known, "{}: {variable}", name(job));
        }
        let image = container(job)["image"].as_str().expect("an image");
        assert_eq!(image, format!("florin/bankctl:{}", env!("CARGO_PKG_VERSION")));
        assert_eq!(pod(job)["restartPolicy"], "Never", "what each try said is kept");
    }
}

/// The volume that a path of a job's container is on.
fn volume<'a>(job: &'a Value, path: &str) -> &'a Value {
    let mut mounted = list(&container(job)["volumeMounts"]).iter();
    let mount = mounted.rfind(|mount| path.starts_with(mount["mountPath"].as_str().expect("a path")));
    let name = &mount.unwrap_or_else(|| panic!("{path} is on no volume"))["name"];
    list(&pod(job)["volumes"]).iter().find(|volume| volume["name"] == *name).expect("a volume")
}

pub(crate) fn agree_on_where_backups_are(manifests: &Manifests) {
    let copies = manifests.jobs().filter(|job| ["backup", "restore"].contains(&arguments(job)[0]));
    for job in copies {
        assert_eq!(arguments(job)[1], BACKUPS, "{}", name(job));
        assert_eq!(volume(job, BACKUPS)["persistentVolumeClaim"]["claimName"], "backups", "{}", name(job));
    }
}

pub(crate) fn restore_onto_the_volume_of_the_first_server(manifests: &Manifests) {
    let restore = manifests.named("CronJob", "bank-restore");
    assert_eq!(restore["spec"]["suspend"], true, "never by itself");
    let set = manifests.named("StatefulSet", "branch-server");
    let data = arguments(restore).into_iter().find_map(|argument| argument.strip_prefix("--data="));
    let claim = volume(restore, data.expect("a directory"))["persistentVolumeClaim"]["claimName"].as_str();
    assert_eq!(claim.map(ToOwned::to_owned), claims_of_first_pod(set).into_iter().next());
    let asked = &manifests.named("PersistentVolumeClaim", claim.expect("a claim"))["spec"];
    assert_eq!(*asked, list(&set["spec"]["volumeClaimTemplates"])[0]["spec"], "the same as a server asks for");
    // The server writes where it was put: its directory is the root of the same volume.
    let mount = list(&container(set)["volumeMounts"]).iter().find(|mount| mount["name"] == "data").expect("a mount");
    assert_eq!(mount["mountPath"], "/data");
}
