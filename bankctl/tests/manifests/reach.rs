//! Who finds whom: selectors, references, ports, probes, networks.

use super::objects::{Manifests, container, list, name, pod, template};
use super::store;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use clap::Parser as _;
use client_api::environment::Environment;
use serde_json::{Value, json};
use tower::ServiceExt as _;

/// Whether labels satisfy what a selector wants.
pub(crate) fn satisfies(labels: &Value, wanted: &Value) -> bool {
    wanted.as_object().is_none_or(|wanted| wanted.iter().all(|(key, value)| labels[key] == *value))
}

fn labels(workload: &Value) -> &Value {
    &template(workload)["metadata"]["labels"]
}

/// The workloads whose pods have these labels.
fn selected<'a>(manifests: &'a Manifests, wanted: &Value) -> Vec<&'a Value> {
    manifests.workloads().chain(manifests.jobs()).filter(|workload| satisfies(labels(workload), wanted)).collect()
}

pub(crate) fn selectors_select(manifests: &Manifests) {
    for workload in manifests.workloads() {
        assert!(satisfies(labels(workload), &workload["spec"]["selector"]["matchLabels"]), "{}", name(workload));
    }
    for service in manifests.of_kind("Service") {
        assert_eq!(selected(manifests, &service["spec"]["selector"]).len(), 1, "service {}", name(service));
    }
    for budget in manifests.of_kind("PodDisruptionBudget") {
        let found = selected(manifests, &budget["spec"]["selector"]["matchLabels"]);
        assert_eq!(found.len(), 1, "budget {}", name(budget));
    }
    for policy in manifests.of_kind("NetworkPolicy") {
        let wanted = &policy["spec"]["podSelector"]["matchLabels"];
        let instances = manifests.of_kind("Cluster").filter(|cluster| satisfies(&store::labels(cluster), wanted));
        let found = selected(manifests, wanted).len() + instances.count();
        assert_ne!(found, 0, "policy {}", name(policy));
    }
    for spread in manifests.workloads().flat_map(|workload| list(&pod(workload)["topologySpreadConstraints"])) {
        assert_eq!(selected(manifests, &spread["labelSelector"]["matchLabels"]).len(), 1, "{spread}");
    }
}

pub(crate) fn references_lead_somewhere(manifests: &Manifests) {
    let sets: Vec<String> = manifests.of_kind("StatefulSet").flat_map(claims_of_first_pod).collect();
    for workload in manifests.workloads().chain(manifests.jobs()) {
        for volume in
            list(&pod(workload)["volumes"]).iter().filter(|volume| volume["persistentVolumeClaim"].is_object())
        {
            let claim = volume["persistentVolumeClaim"]["claimName"].as_str().expect("a claim");
            if sets.contains(&claim.to_owned()) {
                continue;
            }
            let found = manifests.named("PersistentVolumeClaim", claim);
            assert!(
                satisfies(&found["metadata"]["labels"], &json!({"app.kubernetes.io/part-of": "florin"})),
                "{claim}"
            );
        }
        manifests.named("ServiceAccount", pod(workload)["serviceAccountName"].as_str().expect("an account"));
        for source in list(&container(workload)["envFrom"]) {
            manifests.named("ConfigMap", source["configMapRef"]["name"].as_str().expect("a ConfigMap"));
        }
        for volume in list(&pod(workload)["volumes"]).iter().filter(|volume| volume["configMap"].is_object()) {
            manifests.named("ConfigMap", volume["configMap"]["name"].as_str().expect("a ConfigMap"));
        }
        let secrets = store::secrets(manifests);
        for volume in list(&pod(workload)["volumes"]).iter().filter(|volume| volume["secret"].is_object()) {
            let secret = volume["secret"]["secretName"].as_str().expect("a Secret");
            // Those of certificates are made by hand, and explained: `certificates::come_from_secrets`.
            assert!(secrets.contains(secret) || volume["name"] == "tls", "{}: {secret}", name(workload));
        }
        let claims = list(&workload["spec"]["volumeClaimTemplates"]).iter().map(name);
        let volumes = list(&pod(workload)["volumes"]).iter().map(|volume| volume["name"].as_str().unwrap_or_default());
        let there: Vec<&str> = claims.chain(volumes).collect();
        for mount in list(&container(workload)["volumeMounts"]) {
            assert!(there.contains(&mount["name"].as_str().expect("a volume")), "{mount}");
        }
    }
    for set in manifests.of_kind("StatefulSet") {
        let service = manifests.named("Service", set["spec"]["serviceName"].as_str().expect("a service"));
        assert_eq!(service["spec"]["clusterIP"], "None", "each server has a name of its own");
        assert_eq!(service["spec"]["publishNotReadyAddresses"], true, "servers that start together find each other");
    }
}

/// The claims that a StatefulSet's first pod looks for.
pub(crate) fn claims_of_first_pod(set: &Value) -> Vec<String> {
    list(&set["spec"]["volumeClaimTemplates"]).iter().map(|claim| format!("{}-{}-0", name(claim), name(set))).collect()
}

/// A port of a workload's container, by number or name.
fn has_port(workload: &Value, port: &Value) -> bool {
    list(&container(workload)["ports"]).iter().any(|there| there["containerPort"] == *port || there["name"] == *port)
}

pub(crate) fn ports_are_there(manifests: &Manifests) {
    for service in manifests.of_kind("Service") {
        for workload in selected(manifests, &service["spec"]["selector"]) {
            for port in list(&service["spec"]["ports"]) {
                assert!(has_port(workload, &port["targetPort"]), "service {}: {port}", name(service));
            }
        }
    }
    for workload in manifests.programs() {
        // What the program is told to listen on is what the pod says it serves.
        let listens = list(&container(workload)["env"])
            .iter()
            .find(|variable| variable["name"] == "LISTEN" || variable["name"] == "HTTP");
        let address = listens.and_then(|variable| variable["value"].as_str()).expect("an address to listen on");
        let (host, port) = address.rsplit_once(':').expect("an address with a port");
        assert_eq!(host, "0.0.0.0", "{}: the kubelet comes from outside", name(workload));
        assert!(has_port(workload, &json!(port.parse::<u16>().expect("a port"))), "{}", name(workload));
    }
}

/// The routes of the client API answer; 404 is no answer.
fn client_api_answers(path: &str) -> bool {
    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        settings: client_api::Settings,
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let settings = Line::parse_from(["client-api", "--auth", "open"]).settings;
        let routes = client_api::routes_in(Environment::real(), &settings).expect("routes");
        let question = Request::get(path).header("host", "bank").body(Body::empty()).expect("a request");
        let Ok(answer) = routes.oneshot(question).await;
        answer.status() != StatusCode::NOT_FOUND
    })
}

pub(crate) fn probes_ask_what_is_answered(manifests: &Manifests) {
    for workload in manifests.programs() {
        for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
            let probe = &container(workload)[probe];
            let port = if probe["grpc"].is_object() {
                // As branch-server's health service names them; tests/service/calls.rs asks for each.
                let service = probe["grpc"]["service"].as_str().unwrap_or_default();
                assert!(["", "liveness", "bank.v1.BankService"].contains(&service), "{service}");
                &probe["grpc"]["port"]
            } else {
                assert!(client_api_answers(probe["httpGet"]["path"].as_str().expect("a path")), "{probe}");
                &probe["httpGet"]["port"]
            };
            assert!(has_port(workload, port), "{}: {probe}", name(workload));
        }
        // What a restart cures is in the process; whether to send requests is another question.
        assert_ne!(container(workload)["livenessProbe"], container(workload)["readinessProbe"]);
    }
    assert!(!client_api_answers("/no-such-path"));
}

/// Whether a policy lets traffic in from, or out to, pods with these labels on a port.
pub(crate) fn lets(policy: &Value, direction: &str, labels: &Value, port: u16) -> bool {
    let side = if direction == "ingress" { "from" } else { "to" };
    list(&policy["spec"][direction]).iter().any(|rule| {
        list(&rule["ports"]).iter().any(|there| there["port"] == port)
            && list(&rule[side])
                .iter()
                .any(|peer| peer["podSelector"].is_object() && satisfies(labels, &peer["podSelector"]["matchLabels"]))
    })
}

pub(crate) fn edges_are_named(manifests: &Manifests) {
    let deny = manifests.named("NetworkPolicy", "default-deny");
    let florin = json!({"app.kubernetes.io/part-of": "florin"});
    let all = json!({"podSelector": {"matchLabels": florin}, "policyTypes": ["Ingress", "Egress"]});
    assert_eq!(deny["spec"], all, "nobody else's pods in the namespace are Florin's to cut off");
    for workload in manifests.workloads().chain(manifests.jobs()) {
        assert!(satisfies(labels(workload), &florin), "{}", name(workload));
    }
    let [servers, api] = ["branch-server", "client-api"].map(|name| manifests.named("NetworkPolicy", name));
    let label = |name: &str| json!({"app.kubernetes.io/name": name});
    assert!(lets(servers, "ingress", &label("client-api"), 50051));
    assert!(lets(servers, "ingress", &label("branch-server"), 50051));
    assert!(lets(servers, "egress", &label("branch-server"), 50051));
    assert!(lets(api, "egress", &label("branch-server"), 50051));
    let [backup, to_servers] = ["backup", "branch-server-backup"].map(|name| manifests.named("NetworkPolicy", name));
    assert!(lets(backup, "egress", &label("branch-server"), 50051));
    assert!(lets(to_servers, "ingress", &label("backup"), 50051));
    assert!(!lets(to_servers, "ingress", &label("restore-drill"), 50051), "it asks nobody");
    // And no others between pods of the bank.
    assert!(!lets(api, "ingress", &label("branch-server"), 5002));
    assert!(!lets(servers, "egress", &label("client-api"), 5002));
    assert!(!lets(servers, "ingress", &label("another"), 50051));
    // Nor at the port that is for probes and metrics alone: that is for namespaces with a label.
    for (policy, port) in [(servers, 9090), (api, 9090)] {
        assert!(["branch-server", "client-api"].iter().all(|name| !lets(policy, "ingress", &label(name), port)));
        assert!(list(&policy["spec"]["ingress"]).iter().any(|rule| rule["ports"][0]["port"] == port));
    }
    for workload in manifests.workloads() {
        let dns = manifests.named("NetworkPolicy", "dns");
        assert!(satisfies(labels(workload), &dns["spec"]["podSelector"]["matchLabels"]), "{}", name(workload));
    }
}

pub(crate) fn budgets_let_one_go(manifests: &Manifests) {
    for workload in manifests.workloads() {
        let budget = manifests.named("PodDisruptionBudget", name(workload));
        assert!(satisfies(labels(workload), &budget["spec"]["selector"]["matchLabels"]));
        assert_eq!(budget["spec"]["maxUnavailable"], 1, "none would keep a node from ever being drained");
    }
}

pub(crate) fn the_autoscaler_alone_counts(manifests: &Manifests) {
    for scaler in manifests.of_kind("HorizontalPodAutoscaler") {
        let target = &scaler["spec"]["scaleTargetRef"];
        let kind = target["kind"].as_str().expect("a kind");
        assert_eq!(kind, "Deployment", "a branch has one writer; servers are not scaled by load");
        let workload = manifests.named(kind, target["name"].as_str().expect("a name"));
        assert!(workload["spec"]["replicas"].is_null(), "applying it again would undo the autoscaler's work");
        assert!(scaler["spec"]["minReplicas"].as_u64() >= Some(2), "one may go, and one stays");
    }
}
