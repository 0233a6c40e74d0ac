//! TLS in the manifests: every file that a setting names is one of a Secret that is explained, every certificate is for the
//! hosts that it is asked for, and what speaks no TLS is asked where none is spoken.

use super::objects::{Manifests, container, list, name, pod, text};
use super::settings::variables;
use serde_json::Value;

/// The files of a Secret of type kubernetes.io/tls that has its authority beside.
const FILES: [&str; 3] = ["tls.crt", "tls.key", "ca.crt"];

/// The value of a variable, if it is set.
fn value(manifests: &Manifests, workload: &Value, wanted: &str) -> Option<String> {
    variables(manifests, workload).into_iter().find(|(name, _)| name == wanted).map(|(_, value)| value)
}

/// Whether the parts of the bank know each other by certificates.
pub(crate) fn is_secure(manifests: &Manifests) -> bool {
    let mut with = manifests.programs().map(|workload| value(manifests, workload, "TLS_CERTIFICATE").is_some());
    let first = with.next().expect("a workload");
    assert!(with.all(|other| other == first), "all speak TLS to each other, or none");
    first
}

/// Every setting that names a file of a certificate, and the Secret that it comes from.
pub(crate) fn come_from_secrets(manifests: &Manifests) {
    let operations = text("docs/OPERATIONS.md");
    let certificates = cert_manager();
    for workload in manifests.programs().chain(manifests.jobs()) {
        for (setting, path) in variables(manifests, workload) {
            if !(setting.starts_with("TLS_") || setting.starts_with("HTTPS_")) {
                continue;
            }
            let (directory, file) = path.rsplit_once('/').expect("an absolute path");
            assert!(FILES.contains(&file), "{setting}: {path}");
            assert_eq!(file.ends_with(".key"), setting.ends_with("_KEY"), "{setting}: {path}");
            assert_eq!(file == "ca.crt", setting.ends_with("_AUTHORITY"), "{setting}: {path}");
            let mount = list(&container(workload)["volumeMounts"]).iter().find(|mount| mount["mountPath"] == directory);
            let mount = mount.unwrap_or_else(|| panic!("{directory} is not mounted"));
            assert_eq!((&mount["readOnly"], mount.get("subPath")), (&true.into(), None), "subPath is never replaced");
            let volume = list(&pod(workload)["volumes"]).iter().find(|volume| volume["name"] == mount["name"]);
            let secret = &volume.expect("a volume")["secret"];
            let secret_name = secret["secretName"].as_str().expect("a Secret");
            // Only the program's own group may read a key.
            assert_eq!(secret["defaultMode"], 0o440, "{secret_name}");
            let [group, own] = ["fsGroup", "runAsGroup"].map(|group| &pod(workload)["securityContext"][group]);
            assert_eq!(group, own, "{}", name(workload));
            assert!(operations.contains(&format!("create secret generic {secret_name} ")), "{secret_name}");
            assert!(certificates.iter().any(|made| made["spec"]["secretName"] == secret_name), "{secret_name}");
        }
    }
}

/// What the component cert-manager has made.
fn cert_manager() -> Vec<Value> {
    let documents = text("k8s/components/cert-manager/certificates.yaml");
    let objects: Vec<Value> = serde_saphyr::from_multiple(&documents).expect("YAML");
    assert!(objects.iter().all(|object| object["kind"] == "Certificate"));
    objects
}

/// The branch servers' certificate is for every host in the list of peers, and the client API's for none.
pub(crate) fn are_for_the_hosts_that_are_asked(manifests: &Manifests) {
    let set = manifests.named("StatefulSet", "branch-server");
    let peers = value(manifests, set, "PEERS").expect("peers");
    let hosts: Vec<&str> = peers
        .split(',')
        .map(|peer| peer.strip_prefix("https://").and_then(|rest| rest.split(':').next()).expect("https://HOST:PORT"))
        .collect();
    for certificate in cert_manager() {
        let names: Vec<&str> = list(&certificate["spec"]["dnsNames"]).iter().filter_map(Value::as_str).collect();
        let is_server = name(&certificate) == "branch-server";
        assert!(hosts.iter().all(|host| names.contains(host) == is_server), "{names:?}");
        assert!(names.iter().all(|name| !name.contains('*')), "{names:?}");
        let is_for = |usage: &str| list(&certificate["spec"]["usages"]).iter().any(|there| there == usage);
        assert!(is_for("client auth"), "each asks branch servers");
        // A job is called by nobody.
        let is_called = manifests.programs().any(|workload| name(workload) == name(&certificate));
        assert_eq!(is_for("server auth"), is_called, "{names:?}");
        // Services, by which callers come.
        for service in names.iter().filter(|name| is_called && !name.contains('.')) {
            manifests.named("Service", service);
        }
    }
}

/// A kubelet's gRPC probes speak no TLS, and who collects metrics has no certificate.
pub(crate) fn are_asked_of_nobody_who_only_looks(manifests: &Manifests) {
    for workload in manifests.programs() {
        let operations = value(manifests, workload, "OPERATIONS_LISTEN").expect("a plain port");
        let (host, port) = operations.rsplit_once(':').expect("an address");
        assert_eq!(host, "0.0.0.0", "{}: the kubelet comes from outside", name(workload));
        let ports = list(&container(workload)["ports"]);
        let plain = ports.iter().find(|port| port["name"] == "operations").expect("it is named");
        assert_eq!(plain["containerPort"].to_string(), port);
        for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
            let probe = &container(workload)[probe];
            let asked = if probe["grpc"].is_object() { &probe["grpc"]["port"] } else { &probe["httpGet"]["port"] };
            assert!(*asked == plain["containerPort"] || *asked == plain["name"], "{}: {probe}", name(workload));
        }
        let scraped = &workload["spec"]["template"]["metadata"]["annotations"]["prometheus.io/port"];
        assert_eq!(scraped, port, "{}", name(workload));
        // No Service leads there.
        for service in manifests.of_kind("Service").flat_map(|service| list(&service["spec"]["ports"])) {
            assert!(service["targetPort"] != plain["name"] && service["targetPort"] != plain["containerPort"]);
        }
    }
}
