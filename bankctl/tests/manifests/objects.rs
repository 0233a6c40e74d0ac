//! The objects of one overlay.

use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What a bank consists of, with the version of each that clusters from 1.30 on serve.
const KINDS: [(&str, &str); 13] = [
    ("v1", "ConfigMap"),
    ("v1", "Secret"),
    ("v1", "Service"),
    ("v1", "ServiceAccount"),
    ("v1", "PersistentVolumeClaim"),
    ("batch/v1", "CronJob"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("policy/v1", "PodDisruptionBudget"),
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    // CloudNativePG's, which no cluster has by itself.
    ("postgresql.cnpg.io/v1", "Cluster"),
    ("postgresql.cnpg.io/v1", "ScheduledBackup"),
];

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A file of the repository.
pub(crate) fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

pub(crate) struct Manifests(Vec<Value>);

impl Manifests {
    pub(crate) fn read(overlay: &str) -> Manifests {
        Manifests(objects(&format!("k8s/{overlay}.yaml")))
    }

    /// The same, and what is applied by hand when the bank is restored there.
    pub(crate) fn with_restore(overlay: &str) -> Manifests {
        let mut manifests = Manifests::read(overlay);
        manifests.0.append(&mut objects("k8s/components/backup/restore-volume.yaml"));
        manifests
    }

    pub(crate) fn of_kind(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.0.iter().filter(move |object| object["kind"] == kind)
    }

    pub(crate) fn named(&self, kind: &str, wanted: &str) -> &Value {
        let found = self.of_kind(kind).find(|object| name(object) == wanted);
        found.unwrap_or_else(|| panic!("there is no {kind} {wanted}"))
    }

    /// What runs pods that serve.
    pub(crate) fn workloads(&self) -> impl Iterator<Item = &Value> {
        self.of_kind("Deployment").chain(self.of_kind("StatefulSet"))
    }

    /// Those of them that run a program of Florin's.
    pub(crate) fn programs(&self) -> impl Iterator<Item = &Value> {
        let is_florins = |image: &Value| image.as_str().is_some_and(|image| image.starts_with("florin/"));
        self.workloads().filter(move |workload| is_florins(&container(workload)["image"]))
    }

    /// What runs pods that end.
    pub(crate) fn jobs(&self) -> impl Iterator<Item = &Value> {
        self.of_kind("CronJob")
    }
}

pub(crate) fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// The objects of one file.
pub(crate) fn objects(path: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(&text(path)).expect("YAML")
}

/// What a workload's or a job's pods are made from.
pub(crate) fn template(workload: &Value) -> &Value {
    let spec = &workload["spec"];
    if workload["kind"] == "CronJob" { &spec["jobTemplate"]["spec"]["template"] } else { &spec["template"] }
}

/// The specification of a workload's pods.
pub(crate) fn pod(workload: &Value) -> &Value {
    &template(workload)["spec"]
}

/// The one container of a workload's pods.
pub(crate) fn container(workload: &Value) -> &Value {
    let containers = list(&pod(workload)["containers"]);
    assert_eq!(containers.len(), 1, "{}", name(workload));
    &containers[0]
}

pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

pub(crate) fn all_are_known(manifests: &Manifests) {
    let mut seen = BTreeSet::new();
    for object in &manifests.0 {
        let text = |field: &str| object[field].as_str().unwrap_or_default();
        let kind = (text("apiVersion"), text("kind"));
        assert!(KINDS.contains(&kind), "{kind:?}");
        assert!(seen.insert((kind, name(object))), "{kind:?} {} is there twice", name(object));
    }
}
