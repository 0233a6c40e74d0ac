//! The PostgreSQL that a bank's books are in: the demonstration's, of one pod, or CloudNativePG's.

use super::objects::{Manifests, container, list, name, objects, pod, text};
use super::pods::quantity;
use super::reach::{lets, satisfies};
use super::settings::variables;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const PORT: u16 = 5432;

/// Where CloudNativePG's instances tell each other and their operator how they are.
const STATUS_PORT: u16 = 8000;

/// Every field of CloudNativePG's that is used, as its custom resource definitions have them from 1.28 to 1.30. A star
/// is anything.
const FIELDS: [(&str, &[&str]); 2] = [
    (
        "Cluster",
        &[
            "affinity.podAntiAffinityType",
            "affinity.topologyKey",
            "bootstrap.initdb.dataChecksums",
            "bootstrap.initdb.database",
            "bootstrap.initdb.encoding",
            "bootstrap.initdb.owner",
            "bootstrap.recovery.database",
            "bootstrap.recovery.owner",
            "bootstrap.recovery.source",
            "enableSuperuserAccess",
            "externalClusters.name",
            "externalClusters.plugin.name",
            "externalClusters.plugin.parameters.*",
            "imageName",
            "inheritedMetadata.annotations.*",
            "inheritedMetadata.labels.*",
            "instances",
            "plugins.isWALArchiver",
            "plugins.name",
            "plugins.parameters.*",
            "postgresql.parameters.*",
            "postgresql.pg_hba",
            "postgresql.synchronous.dataDurability",
            "postgresql.synchronous.failoverQuorum",
            "postgresql.synchronous.method",
            "postgresql.synchronous.number",
            "primaryUpdateMethod",
            "resources.*",
            "smartShutdownTimeout",
            "storage.size",
            "topologySpreadConstraints.*",
        ],
    ),
    (
        "ScheduledBackup",
        &["backupOwnerReference", "cluster.name", "immediate", "method", "pluginConfiguration.name", "schedule"],
    ),
];

/// The settings that the image of the demonstration's database knows.
const IMAGE_SETTINGS: [&str; 5] =
    ["PGDATA", "POSTGRES_DB", "POSTGRES_INITDB_ARGS", "POSTGRES_PASSWORD_FILE", "POSTGRES_USER"];

fn variable(manifests: &Manifests, workload: &Value, wanted: &str) -> Option<String> {
    variables(manifests, workload).into_iter().find(|(name, _)| name == wanted).map(|(_, value)| value)
}

/// Whether the books are in a database that all branch servers share.
pub(crate) fn is_shared(manifests: &Manifests) -> bool {
    let set = manifests.named("StatefulSet", "branch-server");
    variable(manifests, set, "STORE").is_some_and(|store| store.starts_with("postgres://"))
}

/// What CloudNativePG puts on the pods of a Cluster.
pub(crate) fn labels(cluster: &Value) -> Value {
    let mut labels = cluster["spec"]["inheritedMetadata"]["labels"].clone();
    labels["cnpg.io/cluster"] = json!(name(cluster));
    labels
}

/// The Cluster out of the backups, which is in no overlay.
fn restored() -> Value {
    let mut objects = objects("k8s/components/restored-store/cluster.yaml");
    assert_eq!(objects.len(), 1);
    objects.remove(0)
}

fn clusters(manifests: &Manifests) -> Vec<Value> {
    let mut clusters: Vec<Value> = manifests.of_kind("Cluster").cloned().collect();
    if !clusters.is_empty() {
        clusters.push(restored());
    }
    clusters
}

/// Every Secret that is there, or that CloudNativePG makes.
pub(crate) fn secrets(manifests: &Manifests) -> BTreeSet<String> {
    let made = clusters(manifests);
    let made = made.iter().flat_map(|cluster| ["app", "ca"].map(|which| format!("{}-{which}", name(cluster))));
    manifests.of_kind("Secret").map(|secret| name(secret).to_owned()).chain(made).collect()
}

/// The Secret that a file of a container comes from, and the key there. Only the program's own group reads it, and
/// nothing else of the Secret is beside.
fn secret_of(workload: &Value, path: &str) -> (String, String) {
    let (directory, file) = path.rsplit_once('/').expect("an absolute path");
    let mount = list(&container(workload)["volumeMounts"]).iter().find(|mount| mount["mountPath"] == directory);
    let mount = mount.unwrap_or_else(|| panic!("{directory} is not mounted"));
    assert_eq!((&mount["readOnly"], mount.get("subPath")), (&true.into(), None), "subPath is never replaced");
    let volume = list(&pod(workload)["volumes"]).iter().find(|volume| volume["name"] == mount["name"]);
    let secret = &volume.expect("a volume")["secret"];
    assert_eq!(secret["defaultMode"], 0o440, "{path}");
    let [group, own] = ["fsGroup", "runAsGroup"].map(|group| &pod(workload)["securityContext"][group]);
    assert_eq!(group, own, "{}", name(workload));
    let [item] = list(&secret["items"]) else { panic!("{path}: one file of the Secret, and no other") };
    assert_eq!(item["path"], file, "{path}");
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    (text(&secret["secretName"]), text(&item["key"]))
}

/// Whoever has a STORE finds a database there, of that name and of that owner, and shows the owner's password.
pub(crate) fn is_reached(manifests: &Manifests) {
    let asks = |workload: &&Value| variable(manifests, workload, "STORE").is_some();
    let mut who = Vec::new();
    for workload in manifests.workloads().chain(manifests.jobs()).filter(asks) {
        who.push(name(workload));
        let value = |wanted: &str| variable(manifests, workload, wanted);
        let store = value("STORE").expect("it has one");
        let address = store.strip_prefix("postgres://").and_then(|rest| rest.split_once('@'));
        let (user, rest) = address.unwrap_or_else(|| panic!("{store} names no user"));
        let (host, database) = rest.split_once('/').unwrap_or_else(|| panic!("{store} names no database"));
        assert!(!user.contains(':'), "a password in it would be shown to whoever may look at pods");
        let (secret, key) = secret_of(workload, &value("STORE_PASSWORD_FILE").expect("a password"));
        let authority = value("STORE_AUTHORITY").map(|path| secret_of(workload, &path));
        let cluster = clusters(manifests).into_iter().find(|cluster| format!("{}-rw", name(cluster)) == host);
        if let Some(cluster) = cluster {
            let begin = &cluster["spec"]["bootstrap"];
            let begin = if begin["initdb"].is_object() { &begin["initdb"] } else { &begin["recovery"] };
            assert_eq!((&begin["owner"], &begin["database"]), (&json!(user), &json!(database)), "{store}");
            assert_eq!((secret, key), (format!("{}-app", name(&cluster)), "password".to_owned()), "{store}");
            assert_eq!(authority, Some((format!("{}-ca", name(&cluster)), "ca.crt".to_owned())), "{store}");
        } else {
            let service = manifests.named("Service", host);
            let selector = &service["spec"]["selector"];
            let mut served = manifests.workloads();
            let server = served.find(|there| satisfies(&there["spec"]["template"]["metadata"]["labels"], selector));
            let server = server.expect("a database");
            assert_eq!(list(&service["spec"]["ports"])[0]["port"], PORT, "{host}");
            assert_eq!(variable(manifests, server, "POSTGRES_USER").as_deref(), Some(user));
            assert_eq!(variable(manifests, server, "POSTGRES_DB").as_deref(), Some(database));
            assert!(manifests.named("Secret", &secret)["data"][&key].is_string(), "{secret}: {key}");
            let file = variable(manifests, server, "POSTGRES_PASSWORD_FILE").expect("a password");
            assert_eq!(secret_of(server, &file), (secret, key), "both have the same");
            assert_eq!(authority, None, "it speaks no TLS");
        }
    }
    assert!(who.contains(&"branch-server"), "{who:?}");
}

/// A server has no volume but one that may be lost, and nobody is told which server keeps which branch.
pub(crate) fn servers_keep_nothing(manifests: &Manifests) {
    let set = manifests.named("StatefulSet", "branch-server");
    assert!(list(&set["spec"]["volumeClaimTemplates"]).is_empty());
    assert!(set["spec"]["persistentVolumeClaimRetentionPolicy"].is_null());
    let cache = variable(manifests, set, "CACHE").expect("a cache");
    let mount = list(&container(set)["volumeMounts"]).iter().find(|mount| mount["mountPath"] == cache.as_str());
    let mount = mount.unwrap_or_else(|| panic!("{cache} is on the container's own file system, which is read-only"));
    assert!(mount["readOnly"].is_null());
    let volume = list(&pod(set)["volumes"]).iter().find(|volume| volume["name"] == mount["name"]);
    assert!(quantity(&volume.expect("a volume")["emptyDir"]["sizeLimit"]) >= 1 << 30, "{volume:?}");
    for program in manifests.programs() {
        assert_eq!(variable(manifests, program, "ASSIGNMENT"), None, "{}", name(program));
        let mounts = list(&container(program)["volumeMounts"]).iter().chain(list(&pod(program)["volumes"]));
        assert!(mounts.clone().all(|mount| mount["name"] != "assignment" && mount["name"] != "data"), "{mounts:?}");
    }
    assert!(manifests.of_kind("ConfigMap").all(|map| !name(map).starts_with("assignment")));
}

/// What is in the image's environment is what the image knows, and on a volume; its probes ask what it has.
pub(crate) fn the_demonstrations_is_made(manifests: &Manifests) {
    let set = manifests.named("StatefulSet", "bank-store");
    let environment = variables(manifests, set);
    let mut names: Vec<&str> = environment.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, IMAGE_SETTINGS);
    let image = container(set)["image"].as_str().and_then(|image| image.strip_prefix("postgres:")).expect("an image");
    let oldest = branch_server::journal::postgres::MINIMUM_VERSION;
    assert!(image.parse::<u32>().is_ok_and(|version| version >= oldest), "{image}");
    let value = |wanted: &str| variable(manifests, set, wanted).expect("it is set");
    let [claim] = list(&set["spec"]["volumeClaimTemplates"]) else { panic!("one volume") };
    let mounts = list(&container(set)["volumeMounts"]);
    let mount = mounts.iter().find(|mount| mount["name"] == name(claim)).expect("it is mounted");
    let below = format!("{}/", mount["mountPath"].as_str().expect("a path"));
    assert!(value("PGDATA").starts_with(&below), "{below}");
    // Where it writes beside that; all else is read-only.
    for path in ["/tmp", "/var/run/postgresql"] {
        assert!(mounts.iter().any(|mount| mount["mountPath"] == path && mount["readOnly"].is_null()), "{path}");
    }
    let asked = json!([
        "pg_isready",
        "--host=127.0.0.1",
        format!("--username={}", value("POSTGRES_USER")),
        format!("--dbname={}", value("POSTGRES_DB")),
    ]);
    assert_eq!(container(set)["startupProbe"]["exec"]["command"], asked);
    assert_eq!(container(set)["readinessProbe"]["exec"]["command"], asked);
    let ports = list(&container(set)["ports"]);
    assert_eq!(*ports, [json!({"name": "postgres", "containerPort": PORT})]);
    assert_eq!(container(set)["livenessProbe"]["tcpSocket"]["port"], ports[0]["name"]);
    assert_eq!(set["spec"]["replicas"], 1, "nothing replicates");
}

fn leaves(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                leaves(value, &if path.is_empty() { field.clone() } else { format!("{path}.{field}") }, found);
            }
        }
        Value::Array(values) if values.iter().any(Value::is_object) => {
            values.iter().for_each(|value| leaves(value, path, found));
        }
        _ => {
            found.insert(path.to_owned());
        }
    }
}

pub(crate) fn fields_are_known(manifests: &Manifests) {
    let restored = restored();
    let backup = objects("k8s/components/restored-store/scheduled-backup.yaml");
    for (kind, known) in FIELDS {
        let beside = backup.iter().chain([&restored]).filter(|object| object["kind"] == kind);
        for object in manifests.of_kind(kind).chain(beside) {
            let mut found = BTreeSet::new();
            leaves(&object["spec"], "", &mut found);
            for field in found {
                let is_known = |known: &&str| match known.strip_suffix('*') {
                    Some(before) => field.starts_with(before),
                    None => field == *known,
                };
                assert!(known.iter().any(is_known), "{kind} {}: {field}", name(object));
            }
        }
    }
}

/// What was committed is on two disks, in two places, and whoever becomes the primary has it.
pub(crate) fn is_durable(manifests: &Manifests) {
    let clusters = clusters(manifests);
    assert_eq!(clusters.iter().map(name).collect::<Vec<_>>(), ["bank-store", "bank-store-restored"]);
    for cluster in &clusters {
        let spec = &cluster["spec"];
        let (instances, synchronous) =
            (spec["instances"].as_u64().expect("a number"), &spec["postgresql"]["synchronous"]);
        let number = synchronous["number"].as_u64().expect("a number");
        // One may be away, and there are still enough.
        assert!(number >= 1 && number + 2 <= instances, "{number} of {instances}");
        assert_eq!((&synchronous["method"], &synchronous["dataDurability"]), (&json!("any"), &json!("required")));
        assert_eq!(synchronous["failoverQuorum"], true);
        assert_eq!(spec["affinity"]["podAntiAffinityType"], "required");
        assert_eq!(spec["affinity"]["topologyKey"], "kubernetes.io/hostname");
        let spread = &list(&spec["topologySpreadConstraints"])[0]["labelSelector"]["matchLabels"];
        assert!(satisfies(&labels(cluster), spread), "{spread}");
        assert_eq!(spec["enableSuperuserAccess"], false);
        assert_eq!(spec["postgresql"]["pg_hba"], json!(["hostnossl all all all reject"]));
        // What would lose what was answered for, or all of it.
        for dangerous in ["fsync", "full_page_writes", "synchronous_commit"] {
            assert!(spec["postgresql"]["parameters"][dangerous].is_null(), "{dangerous}");
        }
        let image = spec["imageName"].as_str().and_then(|image| image.rsplit_once(':')).expect("an image with a tag").1;
        let oldest = branch_server::journal::postgres::MINIMUM_VERSION;
        let version: Vec<&str> = image.split(['.', '-']).collect();
        let is_pinned = version.get(1).is_some_and(|minor| minor.parse::<u32>().is_ok());
        assert!(version[0].parse::<u32>().is_ok_and(|major| major >= oldest) && is_pinned, "{image}");
        assert!(quantity(&spec["storage"]["size"]) > 0);
        let [asked, most] = ["requests", "limits"].map(|bound| quantity(&spec["resources"][bound]["memory"]));
        assert!(0 < asked && asked <= most && spec["resources"]["limits"]["cpu"].is_null());
        let text = |parameter: &str| spec["postgresql"]["parameters"][parameter].as_str().expect("only text is taken");
        let gigabytes =
            |text: &str| text.strip_suffix("GB").and_then(|text| text.parse::<u64>().ok()).expect("GB") << 30;
        assert!(2 * gigabytes(text("shared_buffers")) <= asked);
        assert!(4 * gigabytes(text("max_slot_wal_keep_size")) <= quantity(&spec["storage"]["size"]));
    }
}

/// A server more is started without telling all others of it first.
pub(crate) fn more_servers_may_come(manifests: &Manifests) {
    let set = manifests.named("StatefulSet", "branch-server");
    let places = variable(manifests, set, "PEERS").expect("peers").split(',').count() as u64;
    assert!(set["spec"]["replicas"].as_u64().is_some_and(|replicas| replicas > 1 && replicas < places), "{places}");
}

/// As many connections as branch servers make, twice those of branches, which move, and some for whoever else looks.
pub(crate) fn has_room_for_all_servers(manifests: &Manifests) {
    const READERS: usize = 8;
    const BESIDE: usize = 1 + 4;
    let set = manifests.named("StatefulSet", "branch-server");
    let value = |wanted: &str| variable(manifests, set, wanted).expect("it is set");
    let branches: usize = value("BRANCHES").parse().expect("a number");
    let needed = 2 * branches + value("PEERS").split(',').count() * (READERS + BESIDE) + 20;
    for cluster in clusters(manifests) {
        let most = cluster["spec"]["postgresql"]["parameters"]["max_connections"].as_str().expect("text");
        assert!(most.parse::<usize>().is_ok_and(|most| most >= needed), "{most}, and {needed} are needed");
    }
}

pub(crate) fn is_backed_up(manifests: &Manifests) {
    let store = objects("k8s/components/cloudnative-pg/object-store.yaml");
    assert_eq!(store.len(), 1);
    let retention = store[0]["spec"]["retentionPolicy"].as_str().and_then(|text| text.strip_suffix('d'));
    let jobs = list(&container(manifests.named("CronJob", "bank-backup"))["args"]);
    let kept = jobs.iter().find_map(|argument| argument.as_str()?.strip_prefix("--keep-days="));
    assert_eq!(retention, kept, "both kinds of backups are kept as long");
    let mut backups: Vec<Value> = manifests.of_kind("ScheduledBackup").cloned().collect();
    backups.extend(objects("k8s/components/restored-store/scheduled-backup.yaml"));
    for cluster in clusters(manifests) {
        let [plugin] = list(&cluster["spec"]["plugins"]) else { panic!("one plugin") };
        assert_eq!(plugin["isWALArchiver"], true);
        assert_eq!(plugin["parameters"], json!({"barmanObjectName": name(&store[0])}), "below its own name");
        let backup = backups.iter().find(|backup| backup["spec"]["cluster"]["name"] == name(&cluster));
        let spec = &backup.unwrap_or_else(|| panic!("nothing backs {} up", name(&cluster)))["spec"];
        assert_eq!((&spec["method"], &spec["pluginConfiguration"]["name"]), (&json!("plugin"), &plugin["name"]));
        let schedule = spec["schedule"].as_str().expect("a schedule");
        assert_eq!(schedule.split(' ').count(), 6, "{schedule}: seconds come first");
    }
    assert!(text("docs/OPERATIONS.md").contains("components/cloudnative-pg/object-store.yaml"), "it is explained");
}

/// The same but for its name and where it begins, and so its policies.
pub(crate) fn restored_is_the_same(manifests: &Manifests) {
    let store = manifests.named("Cluster", "bank-store");
    let restored = restored();
    let source = &restored["spec"]["bootstrap"]["recovery"]["source"];
    let [from] = list(&restored["spec"]["externalClusters"]) else { panic!("one") };
    let plugin = &list(&store["spec"]["plugins"])[0];
    let expected = json!({
        "name": plugin["name"],
        "parameters": {"barmanObjectName": plugin["parameters"]["barmanObjectName"], "serverName": name(store)},
    });
    assert_eq!((&from["name"], &from["plugin"]), (source, &expected));
    let renamed = |value: &Value| -> Value {
        let text = value.to_string().replace("\"bank-store-restored\"", "\"bank-store\"");
        serde_json::from_str(&text).expect("JSON")
    };
    let mut same = renamed(&restored["spec"]);
    same.as_object_mut().expect("fields").remove("externalClusters");
    same["bootstrap"] = store["spec"]["bootstrap"].clone();
    assert_eq!(same, store["spec"]);
    let policies = objects("k8s/components/restored-store/network-policies.yaml");
    let policy = |wanted: &str| &policies.iter().find(|policy| name(policy) == wanted).expect("it is there")["spec"];
    let mut instances = renamed(policy("bank-store-restored"));
    let prover = json!({"podSelector": {"matchLabels": {"app.kubernetes.io/name": "store-verify"}}});
    let from = instances["ingress"][0]["from"].as_array_mut().expect("a list");
    assert_eq!(from.pop(), Some(prover));
    assert_eq!(instances, manifests.named("NetworkPolicy", "bank-store")["spec"]);
    let servers = manifests.named("NetworkPolicy", "branch-server-store");
    assert_eq!(renamed(policy("branch-server-store-restored")), servers["spec"]);
}

/// What points them there leaves nothing of the other one, which applying it would begin anew.
pub(crate) fn servers_are_at_the_restored_one_alone(manifests: &Manifests) {
    let set = manifests.named("StatefulSet", "branch-server");
    let store = variable(manifests, set, "STORE").expect("a store");
    assert!(store.contains("@bank-store-restored-rw/"), "{store}");
    for kind in ["Cluster", "ScheduledBackup"] {
        assert_eq!(manifests.of_kind(kind).map(name).collect::<Vec<_>>(), ["bank-store-restored"]);
    }
    assert_eq!(manifests.named("Cluster", "bank-store-restored")["spec"], restored()["spec"]);
    let lost = json!({"cnpg.io/cluster": "bank-store"});
    for policy in manifests.of_kind("NetworkPolicy") {
        assert!(!lets(policy, "egress", &lost, PORT), "{}", name(policy));
        assert_ne!(policy["spec"]["podSelector"]["matchLabels"], lost, "{}", name(policy));
    }
}

pub(crate) fn edges_are_named(manifests: &Manifests) {
    let store = manifests.named("Cluster", "bank-store");
    let instances = labels(store);
    let label = |name: &str| json!({"app.kubernetes.io/name": name});
    // They are cut off, and find names, as all of Florin's.
    for policy in ["default-deny", "dns"] {
        let policy = manifests.named("NetworkPolicy", policy);
        assert!(satisfies(&instances, &policy["spec"]["podSelector"]["matchLabels"]), "{}", name(policy));
    }
    let [to, at, verify] =
        ["branch-server-store", "bank-store", "store-verify"].map(|name| manifests.named("NetworkPolicy", name));
    assert_eq!(to["spec"]["podSelector"]["matchLabels"], label("branch-server"));
    assert!(lets(to, "egress", &instances, PORT) && lets(at, "ingress", &label("branch-server"), PORT));
    for port in [PORT, STATUS_PORT] {
        assert!(lets(at, "ingress", &instances, port) && lets(at, "egress", &instances, port), "{port}");
    }
    assert_eq!(verify["spec"]["podSelector"]["matchLabels"], label("store-verify"));
    assert!(lets(verify, "egress", &labels(&restored()), PORT));
    // And no others.
    assert!(!lets(verify, "egress", &instances, PORT), "the bank at work is not proved by it");
    for other in ["client-api", "backup", "restore-drill", "store-verify"] {
        assert!(!lets(at, "ingress", &label(other), PORT), "{other}");
    }
    assert!(!lets(at, "ingress", &label("branch-server"), STATUS_PORT));
    assert!(!lets(at, "egress", &label("branch-server"), 50051));
    // The operator, from its own namespace.
    let operator = json!({
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "cnpg-system"}},
        "podSelector": {"matchLabels": label("cloudnative-pg")},
    });
    let is_let_in = |rule: &&Value| list(&rule["from"]).contains(&operator);
    let [rule] = list(&at["spec"]["ingress"]).iter().filter(is_let_in).collect::<Vec<_>>()[..] else { panic!("one") };
    assert_eq!(list(&rule["ports"]).iter().map(|port| &port["port"]).collect::<Vec<_>>(), [PORT, STATUS_PORT]);
    // Where there is no pod to name, there is a port at least.
    for rule in list(&at["spec"]["egress"]).iter().filter(|rule| rule["to"].is_null()) {
        assert_eq!(list(&rule["ports"]).iter().map(|port| &port["port"]).collect::<Vec<_>>(), [443, 6443]);
    }
}
