//! What `up` prints when the bank is open.

use crate::bank::addresses::Addresses;
use crate::bank::directory::Directory;
use crate::shared_store::SharedStore;
use serde_json::json;

/// The addresses and what to try, or one line of JSON for scripts.
pub(super) fn greeting(addresses: &Addresses, directory: &Directory, json: bool) -> String {
    if json {
        return json!({
            "http": addresses.http_url(),
            "grpc": addresses.grpc.iter().map(|address| format!("http://{address}")).collect::<Vec<_>>(),
            "data": directory.path(),
            "store": directory.store().map(SharedStore::shown),
            "logs": directory.logs(),
            "branches": directory.branches(),
        })
        .to_string();
    }
    let http = addresses.http_url();
    let grpc = addresses.grpc.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let (logs, branches) = (directory.logs(), directory.branches());
    let data = match directory.store() {
        Some(store) => format!("PostgreSQL at {}", store.shown()),
        None => directory.path().display().to_string(),
    };
    let logs = logs.display();
    let post = "curl -H 'content-type: application/json'";
    format!(
        "
Florin is open: {branches} branches on {servers} branch servers.
  HTTP  {http}  (documented at {http}/docs)
  gRPC  {grpc}  (plaintext, with reflection)
  data  {data}
  logs  {logs}
This is the open demo: nobody signs in, and only this machine can reach it.

Try it:
  {post} {http}/initialize_branch -d '{{\"branch_id\":1,\"initial_balance\":1000}}'
  {post} {http}/transaction -d '{{\"customer_id\":1,\"type\":\"deposit\",\"amount\":100}}'
  {post} {http}/transaction -d '{{\"customer_id\":1,\"type\":\"query\"}}'

Ctrl-C stops the bank; the next start finds every cent.",
        servers = addresses.grpc.len(),
    )
}
