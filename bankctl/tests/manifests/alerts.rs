//! The alert rules and the dashboard, against the metrics that the programs have and the paragraphs of docs/OPERATIONS.md.

use super::objects::{list, root, text};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

/// Of every bank, of one whose branches each have a server of their own, and of one whose books are in PostgreSQL.
const FILES: [&str; 3] = ["alerts.yaml", "servers.yaml", "postgres/servers.yaml"];

fn alerts() -> Vec<Value> {
    let rules =
        |file| -> Value { serde_saphyr::from_str(&text(&format!("k8s/components/monitoring/{file}"))).expect("YAML") };
    let groups = FILES.map(|file| list(&rules(file)["groups"]).to_vec()).concat();
    groups.iter().flat_map(|group| list(&group["rules"])).cloned().collect()
}

/// Every word of a text that names a metric of Florin's, without what a histogram adds to it.
fn metrics(text: &str) -> BTreeSet<&str> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words.filter(|word| word.starts_with("florin_")).map(bare).collect()
}

fn bare(word: &str) -> &str {
    ["_bucket", "_sum", "_count"].iter().find_map(|suffix| word.strip_suffix(suffix)).unwrap_or(word)
}

/// All sources below a directory.
fn sources(directory: &Path) -> String {
    let mut all = String::new();
    for entry in std::fs::read_dir(directory).expect("a directory").filter_map(Result::ok) {
        let path = entry.path();
        if path.is_dir() {
            all += &sources(&path);
        } else {
            all += &std::fs::read_to_string(&path).unwrap_or_default();
        }
    }
    all
}

pub(crate) fn all_are_explained() {
    let operations = text("docs/OPERATIONS.md");
    let told: BTreeSet<&str> = operations.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let alerts = alerts();
    let there: BTreeSet<&str> = alerts.iter().filter_map(|alert| alert["alert"].as_str()).collect();
    assert!(there.len() > 5, "{there:?}");
    assert_eq!(there, told, "one paragraph for each alert, and no other");
}

/// Every question of the dashboard's panels.
fn panels() -> Vec<String> {
    let dashboard: Value =
        serde_json::from_str(&text("k8s/components/monitoring/dashboard.json")).expect("a dashboard");
    let panels = list(&dashboard["panels"]);
    let ids: BTreeSet<Option<u64>> = panels.iter().map(|panel| panel["id"].as_u64()).collect();
    assert_eq!(ids.len(), panels.len());
    let targets = panels.iter().flat_map(|panel| list(&panel["targets"]));
    targets.map(|target| target["expr"].as_str().expect("an expression").to_owned()).collect()
}

pub(crate) fn all_ask_for_metrics_that_exist() {
    let sources = ["branch-server/src", "client-api/src"].map(|path| sources(&root().join(path))).concat();
    let known = metrics(&sources);
    for expression in panels() {
        let asked = metrics(&expression);
        assert!(!asked.is_empty() && asked.is_subset(&known), "{expression}: {asked:?}");
    }
    for alert in alerts() {
        let expression = alert["expr"].as_str().expect("an expression");
        let asked = metrics(expression);
        // Of jobs and replicas tells the cluster (kube-state-metrics), of PostgreSQL whoever runs it.
        let others = [
            "kube_cronjob_status_last_successful_time{cronjob=\"bank-",
            "kube_statefulset_status_replicas_ready{statefulset=\"branch-server\"}",
            "cnpg_pg_stat_archiver_",
            "barman_cloud_cloudnative_pg_io_last_available_backup_timestamp",
        ];
        let is_of_others = others.iter().any(|metric| expression.contains(metric));
        assert!(is_of_others == asked.is_empty() && asked.is_subset(&known), "{}: {asked:?}", alert["alert"]);
        let severity = alert["labels"]["severity"].as_str().unwrap_or_default();
        assert!(["critical", "warning"].contains(&severity), "{}", alert["alert"]);
        assert!(alert["annotations"]["summary"].is_string(), "{}", alert["alert"]);
    }
}
