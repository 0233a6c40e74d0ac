//! What pods may do, and how they end.

use super::objects::{Manifests, container, list, name, pod};
use super::settings::program;
use super::store;
use serde_json::{Value, json};

/// Pod Security Standards, restricted:
/// <https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted>; and beyond it a file system
/// that cannot be written and no token for the cluster's own API.
pub(crate) fn are_restricted(manifests: &Manifests) {
    for workload in manifests.workloads().chain(manifests.jobs()) {
        let (pod, container, who) = (pod(workload), container(workload), name(workload));
        let context = &pod["securityContext"];
        assert_eq!(context["runAsNonRoot"], true, "{who}");
        assert_ne!(context["runAsUser"], 0, "{who}");
        assert_eq!(context["seccompProfile"]["type"], "RuntimeDefault", "{who}");
        let context = &container["securityContext"];
        assert_eq!(context["allowPrivilegeEscalation"], false, "{who}");
        assert_eq!(context["capabilities"], json!({"drop": ["ALL"]}), "{who}");
        assert_eq!(context["readOnlyRootFilesystem"], true, "{who}");
        for forbidden in ["hostNetwork", "hostPID", "hostIPC"] {
            assert!(pod[forbidden].is_null(), "{who}: {forbidden}");
        }
        assert!(list(&container["ports"]).iter().all(|port| port["hostPort"].is_null()), "{who}");
        for volume in list(&pod["volumes"]) {
            let kinds = ["configMap", "emptyDir", "ephemeral", "projected", "secret", "persistentVolumeClaim"];
            assert!(kinds.iter().any(|kind| volume[kind].is_object()), "{who}: {volume}");
        }
        assert_eq!(pod["automountServiceAccountToken"], false, "{who}");
        let account = manifests.named("ServiceAccount", pod["serviceAccountName"].as_str().expect("an account"));
        assert_eq!(account["automountServiceAccountToken"], false, "{who}");
    }
}

/// The default of a program's setting.
pub(crate) fn default_ms(command: &clap::Command, setting: &str) -> u64 {
    let argument = command.get_arguments().find(|argument| argument.get_long() == Some(setting)).expect("the setting");
    let value = argument.get_default_values().first().and_then(|value| value.to_str()).expect("a default");
    value.parse().expect("milliseconds")
}

/// The pause before the stop, the drain, and some seconds for what follows it.
pub(crate) fn have_time_to_stop(manifests: &Manifests) {
    for workload in manifests.programs() {
        let drain_ms = default_ms(&program(name(workload)), "drain-timeout-ms");
        let pause = container(workload)["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64().expect("a pause");
        let grace = pod(workload)["terminationGracePeriodSeconds"].as_u64().expect("a grace");
        assert!(grace >= pause + drain_ms / 1000 + 5, "{}: {grace} s", name(workload));
    }
}

/// A quantity of memory or disk in bytes, of processors in thousandths.
pub(crate) fn quantity(value: &Value) -> u64 {
    let text = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
    let (digits, factor) = [("Ki", 1 << 10), ("Mi", 1 << 20), ("Gi", 1 << 30), ("m", 1)]
        .into_iter()
        .find_map(|(suffix, factor)| Some((text.strip_suffix(suffix)?, factor)))
        .unwrap_or((&text, 1000));
    digits.parse::<u64>().unwrap_or_else(|_| panic!("{text} is no quantity")) * factor
}

pub(crate) fn have_bounds(manifests: &Manifests) {
    for workload in manifests.workloads().chain(manifests.jobs()) {
        let resources = &container(workload)["resources"];
        assert!(quantity(&resources["requests"]["cpu"]) > 0, "{}", name(workload));
        let [asked, most] = ["requests", "limits"].map(|bound| quantity(&resources[bound]["memory"]));
        assert!(0 < asked && asked <= most, "{}: {asked} of {most} bytes", name(workload));
        // Throttled, a branch would stall with its whole queue.
        assert!(resources["limits"]["cpu"].is_null(), "{}", name(workload));
        for volume in list(&pod(workload)["volumes"]).iter().filter(|volume| volume["emptyDir"].is_object()) {
            assert!(quantity(&volume["emptyDir"]["sizeLimit"]) > 0, "{volume}");
        }
    }
    assert_eq!(["2", "100m", "1Ki", "3Gi"].map(|text| quantity(&json!(text))), [2000, 100, 1024, 3 << 30]);
}

pub(crate) fn keep_their_volumes(manifests: &Manifests) {
    // A server whose books are elsewhere keeps nothing: `store::servers_keep_nothing`.
    let keeps = |set: &&Value| !(name(set) == "branch-server" && store::is_shared(manifests));
    for set in manifests.of_kind("StatefulSet").filter(keeps) {
        let kept = json!({"whenDeleted": "Retain", "whenScaled": "Retain"});
        assert_eq!(set["spec"]["persistentVolumeClaimRetentionPolicy"], kept);
        let claims = list(&set["spec"]["volumeClaimTemplates"]);
        assert!(claims.iter().all(|claim| quantity(&claim["spec"]["resources"]["requests"]["storage"]) > 0));
        assert!(
            list(&container(set)["volumeMounts"])
                .iter()
                .any(|mount| claims.iter().any(|claim| mount["name"] == name(claim)))
        );
    }
}
