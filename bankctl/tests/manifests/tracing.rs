//! The component that tells a collector: it is in no overlay, so it is read by itself.

use super::objects::{list, text};
use super::settings::program;
use serde_json::Value;

pub(crate) fn says_what_both_programs_take_and_opens_the_way() {
    let variables = text("k8s/components/tracing/tracing.env");
    let variables =
        variables.lines().filter(|line| !line.starts_with('#')).map(|line| line.split_once('=').expect("a value"));
    let variables: Vec<(&str, &str)> = variables.collect();
    for name in ["branch-server", "client-api"] {
        let mut line = vec![name.to_owned()];
        for (variable, value) in &variables {
            let command = program(name);
            let argument =
                command.get_arguments().find(|argument| argument.get_env().is_some_and(|env| env == *variable));
            let long =
                argument.and_then(|argument| argument.get_long()).unwrap_or_else(|| panic!("{name}: {variable}"));
            line.extend([format!("--{long}"), (*value).to_owned()]);
        }
        assert!(program(name).try_get_matches_from(&line).is_ok(), "{line:?}");
    }
    let policy: Value = serde_saphyr::from_str(&text("k8s/components/tracing/network-policy.yaml")).expect("YAML");
    let port = list(&list(&policy["spec"]["egress"])[0]["ports"])[0]["port"].as_u64().expect("a port");
    let (_, collector) = variables.iter().find(|(name, _)| *name == "OTEL_EXPORTER_OTLP_ENDPOINT").expect("an address");
    assert_eq!(bank_proto::traces::check(collector), Ok(()));
    assert!(collector.ends_with(&format!(":{port}")), "{collector}");
}
