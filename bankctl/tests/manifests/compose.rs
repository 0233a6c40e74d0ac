//! `compose.yaml`, against the images that it runs and the settings that the programs know.

use super::objects::{list, text};
use super::pods::{default_ms, quantity};
use super::settings::program;
use bank_proto::{Assignment, AssignmentFile};
use serde_json::{Value, json};

pub(crate) struct Compose(Value);

impl Compose {
    pub(crate) fn read() -> Compose {
        Compose(serde_saphyr::from_str(&text("compose.yaml")).expect("YAML"))
    }

    fn services(&self) -> impl Iterator<Item = Service<'_>> {
        let services = self.0["services"].as_object().expect("services");
        services.iter().map(|(name, service)| Service { name, service })
    }

    fn branch_servers(&self) -> Vec<Service<'_>> {
        self.services().filter(|service| service.program() == "branch-server").collect()
    }
}

struct Service<'a> {
    name: &'a str,
    service: &'a Value,
}

impl Service<'_> {
    /// What it runs: the image's name.
    fn program(&self) -> &str {
        let image = self.service["image"].as_str().and_then(|image| image.strip_prefix("florin/"));
        image.and_then(|image| image.split(':').next()).expect("an image of Florin's")
    }

    /// A line of its image's last stage, without the instruction.
    fn instruction(&self, instruction: &str) -> String {
        let dockerfile = text(dockerfile(self.program()));
        let mut lines = dockerfile.lines().filter_map(|line| line.strip_prefix(instruction)?.strip_prefix(' '));
        lines.next_back().unwrap_or_else(|| panic!("{}: no {instruction}", self.name)).to_owned()
    }

    fn variables(&self) -> impl Iterator<Item = (&str, String)> {
        let variables = self.service["environment"].as_object().expect("variables");
        let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
        variables.iter().map(move |(name, value)| (name.as_str(), plain(value)))
    }

    fn variable(&self, wanted: &str) -> String {
        let found = self.variables().find(|(name, _)| *name == wanted);
        found.unwrap_or_else(|| panic!("{} has no {wanted}", self.name)).1
    }
}

/// What an image is built from.
fn dockerfile(program: &str) -> &'static str {
    match program {
        "branch-server" => "Dockerfile.server",
        "client-api" => "Dockerfile.api",
        other => panic!("nobody builds {other}"),
    }
}

/// One service of those that run an image builds it, and none takes it from elsewhere.
pub(crate) fn images_are_built_here(compose: &Compose) {
    for image in ["branch-server", "client-api"] {
        let (file, tag) = (dockerfile(image), format!("florin/{image}:{}", env!("CARGO_PKG_VERSION")));
        let users: Vec<Service> = compose.services().filter(|service| service.program() == image).collect();
        assert!(users.iter().all(|service| service.service["image"] == tag), "{tag}");
        assert!(users.iter().all(|service| service.service["pull_policy"] == "never"), "{tag}");
        let builds: Vec<&Value> = users.iter().filter_map(|service| service.service.get("build")).collect();
        assert_eq!(builds, [&json!({"context": ".", "dockerfile": file})]);
        let by_hand = format!("docker build -t {tag} -f {file} .");
        assert!(text(file).lines().next().is_some_and(|line| line.ends_with(&by_hand)), "{by_hand}");
    }
    let tools = text("Dockerfile.bankctl");
    let [server, api] = ["branch-server", "client-api"].map(|image| text(dockerfile(image)));
    let build_stage = |text: &str| text.split("\nFROM ").nth(1).map(ToOwned::to_owned);
    assert!(build_stage(&server).is_some_and(|stage| stage.contains("cargo build")));
    assert_eq!(build_stage(&server), build_stage(&api), "the second image takes it from the layers of the first");
    assert_eq!(build_stage(&server), build_stage(&tools), "and so does the third");
}

pub(crate) fn settings_are_taken(compose: &Compose) {
    for service in compose.services() {
        let command = program(service.program());
        let mut line = vec![service.name.to_owned()];
        for (variable, value) in service.variables() {
            let argument = command.get_arguments().find(|argument| argument.get_env() == Some(variable.as_ref()));
            let argument = argument.unwrap_or_else(|| panic!("{} knows no {variable}", service.program()));
            line.push(format!("--{}", argument.get_long().expect("a flag")));
            if argument.get_action().takes_values() {
                line.push(value);
            } else {
                assert_eq!(value, "true", "{variable}");
            }
        }
        if let Err(error) = command.try_get_matches_from(&line) {
            panic!("{line:?}: {error}");
        }
    }
}

/// Every server has its own ordinal and volume, and all agree who the others are.
pub(crate) fn servers_are_named_in_order(compose: &Compose) {
    let servers = compose.branch_servers();
    let names: Vec<String> = servers.iter().map(|server| format!("http://{}:{}", server.name, port(server))).collect();
    for (ordinal, server) in servers.iter().enumerate() {
        assert_eq!(server.variable("SERVER_ORDINAL"), ordinal.to_string(), "{}", server.name);
        assert_eq!(server.variable("PEERS"), names.join(","), "{}", server.name);
        assert_eq!(server.service["volumes"], json!([format!("{}:/data", server.name)]));
        assert!(compose.0["volumes"].as_object().expect("volumes").contains_key(server.name), "{}", server.name);
        assert!(server.instruction("ENV").contains("STORE=sqlite:/data "));
    }
    let assignment = text(compose.0["configs"]["assignment"]["file"].as_str().expect("a file"));
    let branches = servers[0].variable("BRANCHES").parse().expect("a number");
    let count = u32::try_from(servers.len()).expect("a small number");
    let fits = AssignmentFile::parse(&assignment).and_then(|file| Assignment::with_file(branches, count, file));
    assert!(fits.is_ok_and(|fits| fits.founding_servers() == count));
    for service in compose.services() {
        assert_eq!(service.variable("BRANCHES"), servers[0].variable("BRANCHES"), "{}", service.name);
        // Volumes of their own: without it an empty one would be founded beside the others.
        let mounted = json!([{"source": "assignment", "target": service.variable("ASSIGNMENT")}]);
        assert_eq!(service.service["configs"], mounted, "{}", service.name);
        if service.program() == "client-api" {
            assert_eq!(service.variable("BRANCH_SERVERS"), names.join(","));
            for server in &servers {
                assert_eq!(service.service["depends_on"][server.name]["condition"], "service_healthy");
            }
        }
    }
}

/// Compose binds a file into a container; content from elsewhere it copies there, which one that is read-only does not
/// allow.
pub(crate) fn nothing_is_copied_into_what_is_read_only(compose: &Compose) {
    for service in compose.services().filter(|service| service.service["read_only"] == true) {
        for config in list(&service.service["configs"]) {
            let source = config["source"].as_str().or_else(|| config.as_str()).expect("a config's name");
            let definition = compose.0["configs"][source].as_object().expect("a config");
            let from: Vec<&String> = definition.keys().collect();
            assert_eq!(from, ["file"], "{}: {source}", service.name);
        }
    }
}

/// Where its program listens, as its image says.
fn port(service: &Service) -> String {
    let (environment, port) = (service.instruction("ENV"), service.instruction("EXPOSE"));
    assert!(environment.contains(&format!("=0.0.0.0:{port} ")), "{}: {environment}", service.name);
    port
}

/// Only this machine is let in: nobody has to sign in, and no call between servers is checked.
pub(crate) fn ports_are_there(compose: &Compose) {
    let mut published = Vec::new();
    for service in compose.services() {
        for entry in list(&service.service["ports"]) {
            assert_eq!(*entry, format!("127.0.0.1:{0}:{0}", port(&service)), "{}", service.name);
            published.push(port(&service));
        }
    }
    published.sort();
    assert_eq!(published, ["5002", "50051"], "one door of each kind, where README.md says");
}

pub(crate) fn health_is_asked_of_the_program(compose: &Compose) {
    for service in compose.services() {
        let mut test: Vec<String> = serde_json::from_str(&service.instruction("ENTRYPOINT")).expect("a list");
        test.insert(0, "CMD".to_owned());
        test.push("healthy".to_owned());
        assert_eq!(service.service["healthcheck"]["test"], json!(test), "{}", service.name);
    }
}

/// What the pods' security contexts say, in Docker's words.
pub(crate) fn programs_are_restricted(compose: &Compose) {
    for service in compose.services() {
        let (what, name) = (service.service, service.name);
        assert_eq!(what["user"], service.instruction("USER"), "{name}");
        assert_ne!(what["user"], "0:0", "{name}");
        assert_eq!(what["read_only"], true, "{name}");
        assert_eq!(what["cap_drop"], json!(["ALL"]), "{name}");
        assert_eq!(what["security_opt"], json!(["no-new-privileges:true"]), "{name}");
        for forbidden in ["privileged", "cap_add", "network_mode", "pid", "ipc", "devices", "userns_mode"] {
            assert!(what[forbidden].is_null(), "{name}: {forbidden}");
        }
        assert!(list(&what["tmpfs"]).iter().all(|tmpfs| tmpfs.as_str().is_some_and(|text| text.contains(":size="))));
    }
}

pub(crate) fn programs_are_bounded_and_have_time_to_stop(compose: &Compose) {
    for service in compose.services() {
        let limit = service.service["mem_limit"].as_str().expect("a limit");
        assert!(quantity(&json!(limit.replace('m', "Mi").replace('g', "Gi"))) >= 256 << 20, "{}", service.name);
        assert_eq!(service.service["logging"]["driver"], "local", "others keep all, for ever");
        let grace = service.service["stop_grace_period"].as_str().and_then(|grace| grace.strip_suffix('s'));
        let grace: u64 = grace.and_then(|grace| grace.parse().ok()).expect("seconds");
        let drain_ms = default_ms(&program(service.program()), "drain-timeout-ms");
        assert!(grace >= drain_ms / 1000 + 5, "{}: {grace} s", service.name);
    }
}
