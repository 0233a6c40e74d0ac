//! Who is there: a server whose beats go on. No clock but this server's own is looked at.

use super::Seen;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;

/// A server whose beats have not changed for so long is taken for dead. A default takeover is over within 5 seconds of
/// a death: this, a beat, and the opening.
pub(crate) const SILENCE: Duration = Duration::from_secs(3);

/// Of the time between two looks, what is more than this says nothing.
const GAP: Duration = Duration::from_secs(1);

/// The beats of all servers, and when they changed.
pub(super) struct Watch {
    since: Instant,
    looked: Instant,
    heard: BTreeMap<u32, Heard>,
}

struct Heard {
    instance: u64,
    beats: u64,
    at: Instant,
}

impl Watch {
    /// Begins to listen.
    pub(super) fn new(now: Instant) -> Watch {
        Watch { since: now, looked: now, heard: BTreeMap::new() }
    }

    /// Takes note of what the table says. Time in which this server did not look, because the table could not be read
    /// or because it slept itself, says nothing of the others.
    pub(super) fn see(&mut self, seen: &Seen, now: Instant) {
        let blind = now.duration_since(self.looked).saturating_sub(GAP);
        self.since += blind;
        self.heard.values_mut().for_each(|heard| heard.at += blind);
        self.looked = now;
        for (server, sign) in &seen.servers {
            let heard = self.heard.get(server);
            if heard.is_none_or(|heard| (heard.instance, heard.beats) != (sign.instance, sign.beats)) {
                // What stood there at the first look may be the last word of a dead one: it has as long as all others.
                self.heard.insert(*server, Heard { instance: sign.instance, beats: sign.beats, at: now });
            }
        }
        self.heard.retain(|server, _| seen.servers.contains_key(server));
    }

    /// The servers among which branches are spread: those that are heard of and not leaving, and for as long as a
    /// silence takes, those of `expected` that nobody has heard of yet.
    pub(super) fn present(&self, seen: &Seen, expected: impl Iterator<Item = u32>, now: Instant) -> BTreeSet<u32> {
        let is_heard = |heard: &Heard| now.duration_since(heard.at) < SILENCE;
        let is_leaving = |server: &u32| seen.servers.get(server).is_some_and(|sign| sign.is_leaving);
        let mut present: BTreeSet<u32> =
            self.heard.iter().filter(|(_, heard)| is_heard(heard)).map(|(server, _)| *server).collect();
        if now.duration_since(self.since) < SILENCE {
            present.extend(expected.filter(|server| !self.heard.contains_key(server)));
        }
        present.retain(|server| !is_leaving(server));
        present
    }

    /// Whether a server is heard of, leaving or not: as long as it is, its branches are its own.
    pub(super) fn is_alive(&self, server: u32, now: Instant) -> bool {
        self.heard.get(&server).is_some_and(|heard| now.duration_since(heard.at) < SILENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Sign;
    use super::*;

    fn seen(signs: &[(u32, u64, bool)]) -> Seen {
        let sign = |(server, beats, is_leaving): &(u32, u64, bool)| {
            (*server, Sign { instance: 1, beats: *beats, is_leaving: *is_leaving })
        };
        Seen { servers: signs.iter().map(sign).collect(), branches: BTreeMap::new() }
    }

    #[test]
    fn a_server_is_there_as_long_as_it_beats_and_a_silence_longer() {
        let begin = Instant::now();
        let at = |ms: u64| begin + Duration::from_millis(ms);
        let mut watch = Watch::new(begin);
        let both = seen(&[(0, 1, false), (1, 1, false)]);
        watch.see(&both, at(0));
        assert_eq!(watch.present(&both, 0..3, at(0)), BTreeSet::from([0, 1, 2]), "2 may come yet");
        let one = seen(&[(0, 2, false), (1, 1, false)]);
        watch.see(&both, at(1_000));
        watch.see(&one, at(2_000));
        assert_eq!(watch.present(&one, 0..3, at(2_999)), BTreeSet::from([0, 1, 2]));
        assert_eq!(watch.present(&one, 0..3, at(3_000)), BTreeSet::from([0]), "1 is silent, 2 never came");
        assert!(watch.is_alive(0, at(4_999)) && !watch.is_alive(0, at(5_000)));
        let back = seen(&[(0, 3, false), (1, 2, false)]);
        watch.see(&back, at(3_000));
        assert_eq!(watch.present(&back, 0..3, at(3_000)), BTreeSet::from([0, 1]));
    }

    #[test]
    fn whoever_did_not_look_for_a_while_takes_nobody_for_dead() {
        let begin = Instant::now();
        let at = |ms: u64| begin + Duration::from_millis(ms);
        let mut watch = Watch::new(begin);
        let both = seen(&[(0, 1, false), (1, 1, false)]);
        watch.see(&both, at(0));
        // The database was away for a minute, and is back before the other server has found it.
        let one = seen(&[(0, 2, false), (1, 1, false)]);
        watch.see(&one, at(60_000));
        assert_eq!(watch.present(&one, 0..3, at(60_000)), BTreeSet::from([0, 1, 2]));
        for second in 61..=63 {
            watch.see(&seen(&[(0, second, false), (1, 1, false)]), at(second * 1_000));
        }
        assert_eq!(watch.present(&one, 0..3, at(63_000)), BTreeSet::from([0]));
    }

    #[test]
    fn one_that_leaves_gets_nothing_and_keeps_what_it_has_until_it_gives_it_back() {
        let begin = Instant::now();
        let mut watch = Watch::new(begin);
        let leaving = seen(&[(0, 1, false), (1, 1, true)]);
        watch.see(&leaving, begin);
        assert_eq!(watch.present(&leaving, 0..2, begin), BTreeSet::from([0]));
        assert!(watch.is_alive(1, begin));
        let gone = seen(&[(0, 2, false)]);
        watch.see(&gone, begin);
        assert!(!watch.is_alive(1, begin));
    }
}
