//! Traces: what a collector hears of sampled requests, from HTTP to the group commit.

use crate::real::RealBank;
use crate::support::{Api, answer, listener};
use bank_proto::wire;
use bank_proto::wire::bank_service_client::BankServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use reqwest::Method;
use serde_json::json;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tonic::{Request, Response, Status};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CAUSE: &str = "b7ad6b7169203331";

fn sampled() -> String {
    format!("00-{TRACE}-{CAUSE}-01")
}

/// Who told it, and what.
type Told = (String, Span);

/// An OpenTelemetry collector that remembers what it is told.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Told>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for told in request.into_inner().resource_spans {
            let service = text(&told.resource.expect("a resource").attributes, "service.name");
            let spans = told.scope_spans.into_iter().flat_map(|scope| scope.spans);
            self.0.lock().expect("nobody panicked").extend(spans.map(|span| (service.clone(), span)));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn text(attributes: &[KeyValue], key: &str) -> String {
    let value = attributes.iter().find(|attribute| attribute.key == key).and_then(|attribute| attribute.value.clone());
    match value {
        Some(AnyValue { value: Some(any_value::Value::StringValue(text)) }) => text,
        Some(AnyValue { value: Some(any_value::Value::IntValue(number)) }) => number.to_string(),
        _ => String::new(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Collector {
    async fn start() -> (Collector, SocketAddr) {
        let (collector, listener) = (Collector::default(), listener().await);
        let address = listener.local_addr().expect("an address");
        let incoming = tonic::transport::server::TcpIncoming::from(listener);
        let service = TraceServiceServer::new(collector.clone());
        tokio::spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));
        (collector, address)
    }

    /// What it was told below this cause, as a tree in the order of time.
    fn tree(&self, cause: &str) -> String {
        let told = self.0.lock().expect("nobody panicked").clone();
        let mut tree = String::new();
        grow(&mut tree, &told, cause, 0);
        tree
    }

    fn told(&self) -> Vec<Told> {
        self.0.lock().expect("nobody panicked").clone()
    }
}

fn grow(tree: &mut String, told: &[Told], cause: &str, depth: usize) {
    let mut caused: Vec<&Told> = told.iter().filter(|(_, span)| hex(&span.parent_span_id) == cause).collect();
    caused.sort_by_key(|(_, span)| (span.start_time_unix_nano, span.end_time_unix_nano));
    for (service, span) in caused {
        let kind = span.kind().as_str_name().trim_start_matches("SPAN_KIND_").to_lowercase();
        let said = ["http.response.status_code", "florin.branch", "florin.rows", "florin.code"];
        let said = said.map(|key| text(&span.attributes, key)).join(" ");
        let line = format!("{:indent$}{service} {kind} {}  {}", "", span.name, said.trim(), indent = depth * 2);
        writeln!(tree, "{}", line.trim_end()).expect("room");
        grow(tree, told, &hex(&span.span_id), depth + 1);
    }
}

/// A bank that tells the collector, with two branch servers and branches 1 and 2 open.
async fn traced_bank(collector: SocketAddr, ratio: &str) -> RealBank {
    let endpoint = format!("http://{collector}");
    let flags = ["--otlp-endpoint", &endpoint, "--trace-ratio", ratio];
    let bank = RealBank::start_with(2, &[&flags[..], &["--request-timeout-ms", "60000"]].concat(), &flags).await;
    for branch in [1, 2] {
        let opened = bank.api.post("/initialize_branch", json!({"branch_id": branch})).await;
        assert_eq!(opened.status, 201, "{}", opened.text);
    }
    bank
}

/// Stops all of it, so that everything is told.
async fn stop(bank: RealBank) {
    let RealBank { api, servers, .. } = bank;
    api.running.stop().await;
    for server in servers.into_iter().flatten() {
        server.stop().await;
    }
}

async fn sampled_post(api: &Api, path: &str, body: serde_json::Value) -> u16 {
    let request = api.request(Method::POST, path).header("traceparent", sampled()).header("tracestate", "other=1");
    answer(request.json(&body)).await.status.as_u16()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sampled_deposit_is_told_from_http_to_the_group_commit() {
    let (collector, address) = Collector::start().await;
    let bank = traced_bank(address, "0").await;
    let deposit = json!({"customer_id": 1, "type": "deposit", "amount": 5});
    assert_eq!(sampled_post(&bank.api, "/transaction", deposit).await, 200);
    stop(bank).await;
    insta::assert_snapshot!(collector.tree(CAUSE), @r"
    florin-client-api server POST /transaction  200
      florin-client-api client ask the branch
        florin-branch-server server deposit  1
          florin-branch-server internal wait for the teller
          florin-branch-server internal decide
          florin-branch-server internal group commit  2
    ");
    let told = collector.told();
    assert!(told.iter().all(|(_, span)| hex(&span.trace_id) == TRACE && span.trace_state == "other=1"), "{told:?}");
    for (_, span) in &told {
        let parent = told.iter().find(|(_, parent)| parent.span_id == span.parent_span_id);
        let within = parent.is_none_or(|(_, parent)| span.end_time_unix_nano <= parent.end_time_unix_nano);
        assert!(within && span.start_time_unix_nano <= span.end_time_unix_nano, "{told:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_questions_transfers_and_batches_are_told_too() {
    let (collector, address) = Collector::start().await;
    let bank = traced_bank(address, "0").await;
    let api = &bank.api;
    let account = bank.account_of(1).await;
    let withdrawal = json!({"customer_id": 1, "type": "withdraw", "amount": 100_000});
    assert_eq!(sampled_post(api, "/transaction", withdrawal).await, 422);
    let asked = api.request(Method::GET, &format!("/v1/accounts/{account}/transactions"));
    assert_eq!(answer(asked.header("traceparent", sampled())).await.status, 200);
    let transfer = json!({"customer_id": 1, "type": "transfer", "amount": 1, "to_customer_id": 2, "wait_ms": 30_000});
    assert_eq!(sampled_post(api, "/transaction", transfer).await, 200);
    let deposits: Vec<_> = (0..40).map(|_| json!({"type": "deposit", "customer_id": 2, "amount": "1"})).collect();
    assert_eq!(sampled_post(api, "/v1/batches", json!({"operations": deposits})).await, 200);
    stop(bank).await;
    let tree = collector.tree(CAUSE);
    let (first, batch) = tree.split_at(tree.find("florin-client-api server POST /v1/batches").expect("a batch"));
    insta::assert_snapshot!(first, @r"
    florin-client-api server POST /transaction  422
      florin-client-api client ask the branch
        florin-branch-server server withdraw  1  INSUFFICIENT_FUNDS
          florin-branch-server internal wait for the teller
          florin-branch-server internal decide
          florin-branch-server internal group commit  1
    florin-client-api server GET /v1/accounts/{number}/transactions  200
      florin-branch-server server list_transactions
    florin-client-api server POST /transaction  200
      florin-client-api client ask the branch
        florin-branch-server server transfer  1
          florin-branch-server internal wait for the teller
          florin-branch-server internal decide
          florin-branch-server internal group commit  2
    ");
    assert_eq!(batch.matches("florin-branch-server server deposit").count(), 16, "{batch}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_by_grpc_is_told_also_where_it_is_forwarded_to() {
    let (collector, address) = Collector::start().await;
    let bank = traced_bank(address, "0").await;
    let mut client = BankServiceClient::connect(format!("http://{}", bank.addresses[0])).await.expect("a connection");
    for customer_id in [1, 2] {
        let order = wire::DepositRequest { customer_id, amount: "1".to_owned(), ..wire::DepositRequest::default() };
        let mut request = Request::new(order);
        request.metadata_mut().insert("traceparent", sampled().parse().expect("visible text"));
        client.deposit(request).await.expect("a receipt");
    }
    stop(bank).await;
    insta::assert_snapshot!(collector.tree(CAUSE), @r"
    florin-branch-server server deposit  1
      florin-branch-server internal wait for the teller
      florin-branch-server internal decide
      florin-branch-server internal group commit  2
    florin-branch-server server deposit
      florin-branch-server client forward
        florin-branch-server server deposit  2
          florin-branch-server internal wait for the teller
          florin-branch-server internal decide
          florin-branch-server internal group commit  2
    ");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_sampled_is_not_told_and_at_ratio_1_every_request_is() {
    let (collector, address) = Collector::start().await;
    let bank = traced_bank(address, "0").await;
    let deposit = json!({"customer_id": 1, "type": "deposit", "amount": 5});
    let unsampled =
        bank.api.request(Method::POST, "/transaction").header("traceparent", format!("00-{TRACE}-{CAUSE}-00"));
    assert_eq!(answer(unsampled.json(&deposit)).await.status, 200);
    stop(bank).await;
    assert_eq!(collector.told().len(), 0);

    let bank = traced_bank(address, "1").await;
    assert_eq!(bank.api.post("/transaction", deposit).await.status, 200);
    assert_eq!(bank.api.get("/v1/branches/1/trial-balance").await.status, 200);
    assert_eq!(bank.api.get("/readyz").await.status, 200);
    stop(bank).await;
    let told = collector.told();
    let roots = told.iter().filter(|(_, span)| span.parent_span_id.is_empty());
    let mut roots: Vec<_> = roots.map(|(service, span)| format!("{service} {}", span.name)).collect();
    roots.sort();
    insta::assert_debug_snapshot!(roots, @r#"
    [
        "florin-client-api GET /v1/branches/{id}/trial-balance",
        "florin-client-api POST /initialize_branch",
        "florin-client-api POST /initialize_branch",
        "florin-client-api POST /transaction",
    ]
    "#);
    assert!(told.iter().all(|(_, span)| span.kind() != SpanKind::Unspecified));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bank_whose_collector_is_away_serves_all_the_same() {
    let nobody = listener().await.local_addr().expect("an address");
    let bank = traced_bank(nobody, "1").await;
    let deposit = json!({"customer_id": 1, "type": "deposit", "amount": 5});
    for _ in 0..100 {
        assert_eq!(bank.api.post("/transaction", deposit.clone()).await.status, 200);
    }
    stop(bank).await;
}
