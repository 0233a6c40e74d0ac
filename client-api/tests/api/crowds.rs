//! More callers than there are places, on connections of their own.

use crate::scripted::{Scripted, later, receipt};
use crate::support::Api;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;

const DEPOSIT: &str = "POST /transaction HTTP/1.1\r\nHost: florin\r\nContent-Type: application/json\r\n\
                       Content-Length: 48\r\n\r\n{\"customer_id\": 1, \"type\":\"deposit\",\"amount\": 1}";
const LIVEZ: &str = "GET /livez HTTP/1.1\r\nHost: florin\r\n\r\n";

struct Caller(TcpStream);

impl Caller {
    async fn of(api: &Api) -> Caller {
        Caller(TcpStream::connect(api.running.address()).await.expect("a connection"))
    }

    async fn send(&mut self, request: &str) {
        self.0.write_all(request.as_bytes()).await.expect("written");
    }

    /// The next answer: status, head and body.
    async fn hear(&mut self) -> (u16, String) {
        let mut text = String::new();
        let whole = |text: &str| {
            let (head, body) = text.split_once("\r\n\r\n")?;
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?;
            Some(body.len() >= length.parse::<usize>().expect("a number"))
        };
        while whole(&text) != Some(true) {
            let mut bytes = [0; 4096];
            let count = self.0.read(&mut bytes).await.expect("bytes");
            assert_ne!(count, 0, "closed after {text:?}");
            text += std::str::from_utf8(&bytes[..count]).expect("text");
        }
        (text[9..12].parse().expect("a status"), text)
    }

    async fn ask(&mut self, request: &str) -> u16 {
        self.send(request).await;
        self.hear().await.0
    }
}

#[tokio::test]
async fn who_asks_again_before_the_time_is_heard_when_it_is_over() {
    let (release, released) = watch::channel(false);
    let branch = Scripted::start(move |operation| later(released.clone(), receipt(operation))).await;
    let api = Api::start(&[branch.address], &["--max-in-flight", "1", "--request-timeout-ms", "60000"]).await;
    let mut first = Caller::of(&api).await;
    first.send(DEPOSIT).await;
    branch.asked(1).await;

    let mut hasty = Caller::of(&api).await;
    hasty.send(DEPOSIT).await;
    let (status, text) = hasty.hear().await;
    assert_eq!(status, 503);
    assert!(text.contains("retry-after: 1\r\n") && text.contains("OVERLOADED"), "{text}");
    // It asks whether the program lives, and hears so; then for money again, though the place is still taken.
    assert_eq!(hasty.ask(LIVEZ).await, 200);
    hasty.send(DEPOSIT).await;
    // Somebody else's refusal would have come after one of the hasty caller's.
    for _ in 0..3 {
        assert_eq!(Caller::of(&api).await.ask(DEPOSIT).await, 503);
    }
    release.send_replace(true);
    assert_eq!(first.hear().await.0, 200);
    assert_eq!(hasty.hear().await.0, 200, "it was not heard before there was a place again");
}

#[tokio::test]
async fn beyond_the_connections_everybody_is_answered_once_and_only_probes_are_served() {
    let branch = Scripted::start(receipt).await;
    let api = Api::start(&[branch.address], &["--max-connections", "2"]).await;
    let [mut first, mut second] = [Caller::of(&api).await, Caller::of(&api).await];
    assert_eq!((first.ask(LIVEZ).await, second.ask(DEPOSIT).await), (200, 200));

    for (request, status) in [(DEPOSIT, 503), (LIVEZ, 200)] {
        let mut third = Caller::of(&api).await;
        third.send(request).await;
        let (found, text) = third.hear().await;
        assert_eq!(found, status, "{text}");
        assert!(text.contains("connection: close\r\n"), "{text}");
        assert_eq!(third.0.read(&mut [0; 1]).await.expect("the end"), 0);
    }
    // Those who were there first go on, and whoever takes a place that became free.
    assert_eq!(first.ask(DEPOSIT).await, 200);
    drop(second);
    loop {
        let mut next = Caller::of(&api).await;
        if next.ask(DEPOSIT).await == 200 {
            assert_eq!(next.ask(DEPOSIT).await, 200);
            break;
        }
    }
}
