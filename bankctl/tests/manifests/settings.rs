//! Every environment variable and argument, against the settings that the programs know.

use super::certificates;
use super::objects::{Manifests, container, list, name, pod};
use super::store;
use bank_proto::{Assignment, AssignmentFile};
use clap::{Args as _, Command};
use serde_json::Value;

/// The command line of a program.
pub(crate) fn program(name: &str) -> Command {
    match name {
        "branch-server" => branch_server::Settings::augment_args(Command::new("branch-server")),
        "client-api" => client_api::Settings::augment_args(Command::new("client-api")),
        other => panic!("nobody knows the program {other}"),
    }
}

/// The variables of a workload with their values; of what the cluster fills in, an example.
pub(crate) fn variables(manifests: &Manifests, workload: &Value) -> Vec<(String, String)> {
    let mut variables = Vec::new();
    for source in list(&container(workload)["envFrom"]) {
        let map = manifests.named("ConfigMap", source["configMapRef"]["name"].as_str().expect("a ConfigMap"));
        let data = map["data"].as_object().expect("data");
        variables.extend(data.iter().map(|(name, value)| (name.clone(), value.as_str().expect("text").to_owned())));
    }
    for variable in list(&container(workload)["env"]) {
        let name = variable["name"].as_str().expect("a name").to_owned();
        let value = variable["value"].as_str().map(ToOwned::to_owned);
        let filled_in = &variable["valueFrom"]["fieldRef"]["fieldPath"];
        let value =
            value.or_else(|| (filled_in == "metadata.labels['apps.kubernetes.io/pod-index']").then(|| "0".into()));
        variables.push((name, value.unwrap_or_else(|| panic!("{variable} has no value"))));
    }
    variables
}

pub(crate) fn all_are_taken(manifests: &Manifests) {
    let known = |command: &Command, variable: &str| {
        let argument = command.get_arguments().find(|argument| argument.get_env().is_some_and(|env| env == variable));
        argument.and_then(|argument| argument.get_long()).map(|long| format!("--{long}"))
    };
    let mut unknown_to_all: Vec<String> = Vec::new();
    let commands: Vec<Command> = manifests.programs().map(|workload| program(name(workload))).collect();
    for workload in manifests.programs() {
        let command = program(name(workload));
        let mut line = vec![name(workload).to_owned()];
        for (variable, value) in variables(manifests, workload) {
            match known(&command, &variable) {
                Some(long) => line.extend([long, value]),
                // The settings that both share are in one map, and one of them may be the other's.
                None if commands.iter().any(|other| known(other, &variable).is_some()) => {}
                None => unknown_to_all.push(variable),
            }
        }
        line.extend(
            list(&container(workload)["args"]).iter().map(|argument| argument.as_str().expect("text").to_owned()),
        );
        if let Err(error) = command.try_get_matches_from(&line) {
            panic!("{line:?}: {error}");
        }
    }
    assert_eq!(unknown_to_all, Vec::<String>::new());
}

/// Both lists name every branch server by its own name, in the order of ordinals: as many as run, or where the books are
/// in a database, as many as may run.
pub(crate) fn all_servers_are_named_in_order(manifests: &Manifests) {
    let set = manifests.named("StatefulSet", "branch-server");
    let replicas = set["spec"]["replicas"].as_u64().expect("a number");
    let service = set["spec"]["serviceName"].as_str().expect("a service");
    let ports = list(&container(set)["ports"]);
    let port = &ports.iter().find(|port| port["name"] == "grpc").expect("it is named")["containerPort"];
    let scheme = if certificates::is_secure(manifests) { "https" } else { "http" };
    for workload in manifests.programs() {
        let variables = variables(manifests, workload);
        let value = |wanted: &str| &variables.iter().find(|(name, _)| name == wanted).expect("it is set").1;
        let servers = value("PEERS").split(',').count() as u64;
        assert!(if store::is_shared(manifests) { replicas <= servers } else { replicas == servers }, "{servers}");
        let names: Vec<String> =
            (0..servers).map(|ordinal| format!("{scheme}://branch-server-{ordinal}.{service}:{port}")).collect();
        assert_eq!(*value("PEERS"), names.join(","));
        assert_eq!(*value("BRANCH_SERVERS"), names.join(","));
    }
}

/// The assignment file stands where both programs look for it, and fits the other settings.
pub(crate) fn the_assignment_is_there_and_fits(manifests: &Manifests) {
    if store::is_shared(manifests) {
        // The servers agree in the database: `store::servers_keep_nothing`.
        return;
    }
    for workload in manifests.programs() {
        let variables = variables(manifests, workload);
        let value = |wanted: &str| &variables.iter().find(|(name, _)| name == wanted).expect("it is set").1;
        let (directory, file) = value("ASSIGNMENT").rsplit_once('/').expect("an absolute path");
        let mount = list(&container(workload)["volumeMounts"]).iter().find(|mount| mount["mountPath"] == directory);
        let mounted = &mount.expect("it is mounted")["name"];
        let volume = list(&pod(workload)["volumes"]).iter().find(|volume| volume["name"] == *mounted);
        let map = &volume.expect("a volume")["configMap"]["name"];
        let map = manifests.named("ConfigMap", map.as_str().expect("a ConfigMap"));
        let text = map["data"][file].as_str().expect("the file");
        let servers = u32::try_from(value("PEERS").split(',').count()).expect("a small number");
        let branches = value("BRANCHES").parse().expect("a number");
        let assignment = AssignmentFile::parse(text).and_then(|file| Assignment::with_file(branches, servers, file));
        assert!(assignment.is_ok(), "{}: {assignment:?}", name(workload));
    }
}

/// Whether everybody may do everything.
pub(crate) fn is_open(manifests: &Manifests) -> bool {
    let api = manifests.named("Deployment", "client-api");
    let by_argument = list(&container(api)["args"]).iter().any(|argument| argument == "--auth=open");
    by_argument || variables(manifests, api).iter().any(|(name, value)| name == "AUTH" && value == "open")
}
